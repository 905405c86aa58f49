//! What a process costs: the numbers of /proc.

use crate::program::{PATIENCE, Program};
use std::fs;
use std::time::{Duration, Instant};

/// Linux tells user space in hundredths of a second on every platform we build for (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

fn read(program: &Program, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", program.pid())).expect("it runs")
}

fn entries(program: &Program, folder: &str) -> usize {
    fs::read_dir(format!("/proc/{}/{folder}", program.pid())).expect("it runs").count()
}

pub fn open_files(program: &Program) -> usize {
    entries(program, "fd")
}

pub fn tasks(program: &Program) -> usize {
    entries(program, "task")
}

pub fn resident_kib(program: &Program) -> u64 {
    let status = read(program, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// User and system time from a `stat` file; the name in brackets may hold anything.
fn cpu_in(stat: &str) -> Duration {
    let after_name = stat.rsplit_once(')').expect("a name in brackets").1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u32>().expect("a number");
    TICK * (ticks(11) + ticks(12))
}

/// Of all threads, those that have ended included.
pub fn cpu_time(program: &Program) -> Duration {
    cpu_in(&read(program, "stat"))
}

/// Of one thread, by its name, which it gives itself once it runs.
pub fn thread_cpu_time(program: &Program, name: &str) -> Duration {
    let wanted = format!("({name})");
    let start = Instant::now();
    loop {
        let tasks = fs::read_dir(format!("/proc/{}/task", program.pid())).expect("it runs");
        let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let found: Vec<String> = stats.filter(|stat| stat.contains(&wanted)).collect();
        if let [stat] = &found[..] {
            return cpu_in(stat);
        }
        assert!(start.elapsed() < PATIENCE, "threads called {name}: {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
