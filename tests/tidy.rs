//! The house rules a compiler does not know: floors, `unsafe`, time, panics, file heads and file lengths.
//!
//! Each check is a pure function from a file's text to complaints; the tests below prove that each of them can fail.

mod rust_text;

use rust_text::{code_of, without_tests};
use std::fs;
use std::path::{Path, PathBuf};

const LINES_WANTED: usize = 500;
const LINES_ALLOWED: usize = 800;

/// Which floor each module of `src/` stands on. Imports go down only.
const FLOORS: &[(&str, u32)] = &[
    ("error", 0),
    ("units", 0),
    ("clock", 0),
    ("repeat", 0),
    ("heap_sys", 0),
    ("media", 0),
    ("config", 0),
    ("capture", 1),
    ("overlay", 1),
    ("encode", 1),
    ("stream", 2),
    ("output", 3),
    ("signal", 4),
    ("metrics", 4),
    ("http", 4),
    ("doctor", 4),
    ("app", 5),
    ("notify", 5),
    ("logging", 5),
    ("cli", 5),
    ("lib", 6),
    ("main", 6),
];

/// Doors between modules of one floor, one way only.
const DOORS: &[(&str, &str)] = &[("http", "signal"), ("http", "metrics"), ("app", "notify"), ("cli", "logging")];

/// Where the developers' machines show through. Written in pieces, so that this file is not one of the finds.
const PRIVATE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];

struct File {
    /// From the top of the project, with `/`.
    path: String,
    text: String,
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All text files below `folder`, in a fixed order.
fn files_below(folder: &str) -> Vec<File> {
    let mut waiting = vec![project().join(folder)];
    let mut found = Vec::new();
    while let Some(place) = waiting.pop() {
        if place.is_dir() {
            let hidden = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.starts_with('.') || ["target", "node_modules", "dist", "artefacts"].contains(&name.as_str())
            };
            let entries = fs::read_dir(&place).expect("a readable folder");
            waiting.extend(entries.map(|entry| entry.expect("a readable entry").path()).filter(|path| !hidden(path)));
        } else if let Ok(text) = fs::read_to_string(&place) {
            let path = place.strip_prefix(project()).expect("it is below the project");
            found.push(File { path: path.to_string_lossy().into_owned(), text });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// What is in the program: files that a `#[cfg(test)] mod name;` brings in, and `*_tests.rs`, are left out.
fn source_files() -> Vec<File> {
    let mut files = files_below("src");
    files.retain(|file| file.path.ends_with(".rs"));
    let tests: Vec<String> = files.iter().flat_map(test_modules).collect();
    files.retain(|file| !tests.contains(&file.path) && !file.path.ends_with("_tests.rs"));
    files
}

/// The paths of the modules that a file declares for tests only.
fn test_modules(file: &File) -> Vec<String> {
    let folder = match file.path.strip_suffix("/mod.rs") {
        Some(folder) => folder,
        None if file.path == "src/lib.rs" => "src",
        None => file.path.trim_end_matches(".rs"),
    };
    let code = code_of(&file.text);
    let declared = code.split("#[cfg(test)]").skip(1).filter_map(|item| {
        let (head, _) = item.split_once(';')?;
        let name = head.split_whitespace().skip_while(|word| *word != "mod").nth(1)?;
        (!head.contains('{')).then(|| format!("{folder}/{name}.rs"))
    });
    declared.collect()
}

/// Runs a check over files and fails with all complaints at once.
fn complain_about(files: &[File], check: impl Fn(&File) -> Vec<String>) {
    assert!(!files.is_empty(), "nothing to check: the tree has moved");
    let complaints: Vec<String> = files.iter().flat_map(check).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The first part of the path below src/: `src/media/frame.rs` is in `media`.
fn module_of(path: &str) -> &str {
    path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default()
}

fn floor_of(module: &str) -> Option<u32> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The modules of this crate that a piece of code names, with the line.
fn modules_named(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("rtcam::")) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = 1 + code[..at].matches('\n').count();
        let rest = &code[at + "crate::".len()..];
        let names: Vec<String> = match rest.strip_prefix('{') {
            Some(group) => first_names_of_group(group),
            None => vec![first_name(rest)],
        };
        found.extend(names.into_iter().map(|name| (line, name)));
    }
    found
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// `a::{b, c}, d::e}` names a and d.
fn first_names_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut part, mut names) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                part.push(c);
            }
        }
    }
    names.push(part);
    names.iter().map(|name| first_name(name)).filter(|name| !name.is_empty()).collect()
}

fn check_floors(file: &File) -> Vec<String> {
    let from = module_of(&file.path);
    let Some(floor) = floor_of(from) else {
        return vec![format!("{}: module {from} has no floor: add it to FLOORS", file.path)];
    };
    let code = without_tests(&code_of(&file.text));
    let mut complaints = Vec::new();
    for (line, to) in modules_named(&code) {
        let allowed = match floor_of(&to) {
            _ if to == from => true,
            // the words of floor 0 belong together
            Some(target) => target < floor || floor == 0 && target == 0 || DOORS.contains(&(from, to.as_str())),
            None => false,
        };
        if !allowed {
            complaints.push(format!("{}:{line}: {from} must not import {to}: imports go down only", file.path));
        }
    }
    if code.contains("super::super") {
        complaints.push(format!("{}: super::super hides where an import goes: name it from crate::", file.path));
    }
    complaints
}

fn check_length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if lines > LINES_ALLOWED {
        return vec![format!("{}: {lines} lines, at most {LINES_ALLOWED} are allowed: split it", file.path)];
    }
    if lines > LINES_WANTED {
        println!("{}: {lines} lines, more than the {LINES_WANTED} wanted", file.path);
    }
    Vec::new()
}

fn check_unsafe(file: &File) -> Vec<String> {
    let code = code_of(&file.text);
    let lines: Vec<&str> = file.text.lines().collect();
    let code_lines: Vec<&str> = code.lines().collect();
    let mut complaints = Vec::new();
    for (at, _) in code.match_indices("unsafe") {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let rest = &code[at + "unsafe".len()..];
        if code[..at].ends_with(is_word) || rest.starts_with(is_word) || is_function_type(rest) {
            continue;
        }
        let line = code[..at].matches('\n').count();
        if !file.path.ends_with("_sys.rs") {
            complaints.push(format!("{}:{}: unsafe belongs into a *_sys.rs file", file.path, line + 1));
        } else if !has_safety_reason(line, &lines, &code_lines) {
            complaints.push(format!("{}:{}: unsafe without its SAFETY reason above", file.path, line + 1));
        }
    }
    complaints
}

/// `unsafe fn(..)` as a type promises nothing yet. String contents are blanked here: `extern "" fn(`.
fn is_function_type(after_unsafe: &str) -> bool {
    let rest = after_unsafe.trim_start();
    let rest = rest.strip_prefix("extern").map_or(rest, |abi| abi.trim_start_matches([' ', '"', 'C']));
    rest.strip_prefix("fn").is_some_and(|rest| rest.trim_start().starts_with('('))
}

/// Looks up from a line through the rest of its statement, attributes and comments.
fn has_safety_reason(line: usize, lines: &[&str], code_lines: &[&str]) -> bool {
    let names_it = |text: &str| text.contains("SAFETY:") || text.contains("# Safety");
    if names_it(lines[line]) {
        return true;
    }
    for above in (0..line).rev() {
        let (text, code) = (lines[above].trim(), code_lines[above].trim());
        if names_it(text) {
            return true;
        }
        let is_comment = code.is_empty() && !text.is_empty();
        let goes_on = !text.is_empty() && (code.starts_with("#[") || !code.ends_with([';', '{', '}']));
        if !is_comment && !goes_on {
            return false;
        }
    }
    false
}

fn check_head(file: &File) -> Vec<String> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{}: the file must begin with //! and say what it owns", file.path)]
}

/// Words that must not be in code that runs for the user, and why.
const BANNED: &[(&str, &str)] = &[
    (".unwrap()", "an error, or expect with the reason it holds"),
    ("todo!", "finish it"),
    ("unimplemented!", "finish it"),
    ("dbg!", "use tracing"),
    ("allow(dead_code)", "delete the code"),
];

fn check_banned(file: &File) -> Vec<String> {
    complaints_about(file, BANNED)
}

const TIME_WORDS: &[(&str, &str)] = &[
    ("Instant::now", "time comes from clock.rs"),
    ("SystemTime::now", "time comes from clock.rs"),
    ("thread::sleep", "time comes from clock.rs"),
    ("tokio::time::", "time comes from clock.rs"),
    ("Utc::now", "time comes from clock.rs"),
    ("Local::now", "time comes from clock.rs"),
    (".elapsed()", "time comes from clock.rs"),
];

fn check_time(file: &File) -> Vec<String> {
    if file.path == "src/clock.rs" { Vec::new() } else { complaints_about(file, TIME_WORDS) }
}

fn complaints_about(file: &File, words: &[(&str, &str)]) -> Vec<String> {
    let code = without_tests(&code_of(&file.text));
    let find = |(word, instead): &(&str, &str)| {
        let line = |at: usize| 1 + code[..at].matches('\n').count();
        let complain = |(at, _)| format!("{}:{}: {word}: {instead}", file.path, line(at));
        code.match_indices(word).map(complain).collect::<Vec<_>>()
    };
    words.iter().flat_map(find).collect()
}

fn check_paths(file: &File) -> Vec<String> {
    let find = |(number, line): (usize, &str)| {
        let private = PRIVATE_PATHS.iter().find(|path| line.contains(**path))?;
        Some(format!("{}:{}: {private}: a path of somebody's machine", file.path, number + 1))
    };
    file.text.lines().enumerate().filter_map(find).collect()
}

#[test]
fn imports_go_down_the_floors() {
    complain_about(&source_files(), check_floors);
}

#[test]
fn files_are_short() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "web"] {
        files.extend(files_below(folder));
    }
    let endings = [".rs", ".js", ".mjs", ".css", ".html", ".py", ".sh", ".c"];
    files.retain(|file| endings.iter().any(|ending| file.path.ends_with(ending)));
    complain_about(&files, check_length);
}

#[test]
fn unsafe_is_in_sys_files_with_its_reason() {
    complain_about(&source_files(), check_unsafe);
}

#[test]
fn every_source_file_says_what_it_owns() {
    complain_about(&source_files(), check_head);
}

#[test]
fn no_unwrap_and_nothing_unfinished_outside_tests() {
    complain_about(&source_files(), check_banned);
}

#[test]
fn time_comes_from_the_clock() {
    complain_about(&source_files(), check_time);
}

#[test]
fn no_file_knows_a_developers_machine() {
    let mut files = Vec::new();
    for folder in fs::read_dir(project()).expect("the project is readable") {
        let name = folder.expect("a readable entry").file_name().to_string_lossy().into_owned();
        if !["target", "dist", "artefacts", ".git", "Cargo.lock"].contains(&name.as_str()) {
            files.extend(files_below(&name));
        }
    }
    complain_about(&files, check_paths);
}

#[test]
fn main_is_a_thin_door() {
    let main = fs::read_to_string(project().join("src/main.rs")).expect("src/main.rs");
    assert!(main.lines().count() <= 60, "main.rs must stay at most 60 lines");
}

// From here on: each check finds what it is for.

fn file(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into() }
}

/// The rows must be found, the last argument must not.
fn proves(check: fn(&File) -> Vec<String>, path: &str, bad: &[&str], good: &[&str]) {
    for text in bad {
        assert!(!check(&file(path, text)).is_empty(), "not found:\n{text}");
    }
    for text in good {
        assert_eq!(check(&file(path, text)), Vec::<String>::new(), "found in:\n{text}");
    }
}

#[test]
fn an_import_upwards_or_sideways_is_found() {
    let bad = [
        "use crate::stream::Stream;",
        "use crate::encode;",
        "use crate::{units, http::serve};",
        "use crate::{units::{Micros, Size}, overlay::Layer};",
        "fn f() -> crate::output::ViewerId {}",
        "use crate::nowhere;",
        "use super::super::stream;",
    ];
    let good = [
        "use crate::units::Micros;\nuse crate::capture::Source;\nuse crate::{config, media::frame::Frame};",
        "// crate::stream is above us",
        "const A: &str = \"crate::stream\";",
        "pub(crate) fn f() { my_crate::stream() }",
        "#[cfg(test)]\nmod tests { use crate::stream::Stream; }",
    ];
    proves(check_floors, "src/capture/v4l2.rs", &bad, &good);
    proves(check_floors, "src/http/mod.rs", &["use crate::app;"], &["use crate::signal::session;"]);
    proves(check_floors, "src/signal/mod.rs", &["use crate::http;"], &["use crate::output::ViewerDoor;"]);
    proves(check_floors, "src/cli/run.rs", &["use crate::app;"], &["use crate::logging;"]);
    proves(check_floors, "src/attic/mod.rs", &[""], &[]);
}

#[test]
fn modules_for_tests_only_are_known() {
    let text = "#[cfg(test)]\npub(crate) mod fake;\n#[cfg(test)]\nmod tests { use a; }\nmod real;";
    assert_eq!(test_modules(&file("src/capture/mod.rs", text)), ["src/capture/fake.rs"]);
    assert_eq!(test_modules(&file("src/http.rs", text)), ["src/http/fake.rs"]);
    assert_eq!(test_modules(&file("src/lib.rs", text)), ["src/fake.rs"]);
}

#[test]
fn a_file_too_long_is_found() {
    let (long, short) = ("x\n".repeat(801), "x\n".repeat(800));
    proves(check_length, "src/a.rs", &[&long], &[&short]);
}

#[test]
fn unsafe_without_a_reason_or_outside_sys_is_found() {
    proves(
        check_unsafe,
        "src/a.rs",
        &["fn f() {\n // SAFETY: no\n unsafe { g() } }"],
        &["// unsafe\nlet unsafe_not = \"unsafe\";"],
    );
    let bad = [
        "fn f() {\n    unsafe { g() }\n}",
        "// SAFETY: an old one\nlet a = 1;\nunsafe { g() }",
        "// SAFETY: too far away\n\nunsafe impl Send for A {}",
        "/// Documented, but not its safety.\npub unsafe fn f() {}",
        "unsafe extern \"C\" {\n}",
    ];
    let good = [
        "// SAFETY: g is harmless.\nunsafe { g() }",
        "// SAFETY: g is harmless,\n// and two lines are fine.\nlet a =\n    unsafe { g() };",
        "/// # Safety\n/// The caller counts.\n#[inline]\npub unsafe fn f() {}",
        "type Open = unsafe extern \"C\" fn(i32) -> i32;",
        "type Open = unsafe fn(i32);",
        "let a = unsafe { g() }; // SAFETY: g is harmless",
    ];
    proves(check_unsafe, "src/a_sys.rs", &bad, &good);
}

#[test]
fn a_file_without_a_head_is_found() {
    proves(check_head, "src/a.rs", &["use std::fmt;", "// A head.\n", "//!\n"], &["//! A head.\n"]);
}

#[test]
fn unwrap_and_unfinished_work_are_found() {
    let bad = ["fn f() { g().unwrap() }", "fn f() { todo!() }", "#[allow(dead_code)]\nfn f() {}", "dbg!(1);"];
    let good = [
        "fn f() { g().unwrap_or(1) }",
        "// .unwrap()\nfn f() {}",
        "fn f() {}\n#[cfg(test)]\nmod tests {\n fn f() { g().unwrap() }\n}",
    ];
    proves(check_banned, "src/a.rs", &bad, &good);
    proves(check_banned, "src/a.rs", &["#[cfg(test)]\nmod tests {\n}\nfn f() { g().unwrap() }"], &[]);
}

#[test]
fn a_clock_of_ones_own_is_found() {
    let bad = ["let a = Instant::now();", "tokio::time::interval(x);", "std::thread::sleep(x);", "start.elapsed();"];
    proves(check_time, "src/a.rs", &bad, &["let a = clock.now();"]);
    proves(check_time, "src/clock.rs", &[], &["let a = Instant::now();"]);
}

#[test]
fn a_private_path_is_found() {
    let private = format!("see {}me/notes", PRIVATE_PATHS[1]);
    proves(check_paths, "README.md", &[&private], &["see /etc/rtcam/rtcam.toml"]);
}
