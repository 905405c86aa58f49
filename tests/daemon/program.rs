//! The program under test: started on free ports in an empty folder, ended with the test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Far longer than anything takes on a busy machine; only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(45);

pub struct Program {
    child: Child,
    pub address: SocketAddr,
    /// What was read of its log so far.
    log: Arc<Mutex<String>>,
    folder: Arc<tempfile::TempDir>,
}

fn command(arguments: &[&str], folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtcam"));
    command.args(arguments).current_dir(folder).env_remove("RTCAM_LOG").env("STATE_DIRECTORY", folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its own end.
pub fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    command(arguments, &folder).output().expect("the program is built")
}

impl Program {
    /// With the moving pattern, unless the settings say otherwise.
    pub fn start(settings: &[&str]) -> Program {
        Program::start_in(Arc::new(tempfile::tempdir().expect("a temporary folder")), settings)
    }

    /// As after `kill -9` or a power cut: nobody said goodbye, and the state is what was on the disk.
    pub fn kill_and_start_again(mut self, settings: &[&str]) -> Program {
        self.kill();
        Program::start_in(self.folder.clone(), settings)
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    fn start_in(folder: Arc<tempfile::TempDir>, settings: &[&str]) -> Program {
        let defaults = ["http.listen=127.0.0.1:0", "webrtc.udp_port=0", "camera.source=pattern"];
        let mut arguments = vec!["run"];
        for setting in defaults.iter().chain(settings) {
            arguments.extend(["--set", setting]);
        }
        let mut child = command(&arguments, &folder).spawn().expect("the program is built");
        let log = Arc::new(Mutex::new(String::new()));
        let errors = child.stderr.take().expect("piped");
        let collected = log.clone();
        std::thread::spawn(move || collect(errors, &collected));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = lines.by_ref().find_map(|line| address_in(&line.ok()?));
        // whatever else it says must not block it
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.unwrap_or_else(|| panic!("it did not start: {}", log.lock().unwrap()));
        Program { child, address, log, folder }
    }

    /// Another command in the same folder, with the same state.
    pub fn run_beside(&self, arguments: &[&str]) -> Output {
        command(arguments, &self.folder).output().expect("the program is built")
    }

    /// A file of its state; empty where there is none yet.
    pub fn state_file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    pub fn write_state_file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("the folder is ours");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What was read of it so far: enough to look for what must not be there.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line with these words has been read.
    pub fn until_logged(&self, words: &str) {
        let start = Instant::now();
        while !self.log().contains(words) {
            assert!(start.elapsed() < PATIENCE, "never logged: {words}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).expect("a process id is not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
    }

    /// The exit code, and how long it took; panics where it takes longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> (Option<i32>, Duration) {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                use std::os::unix::process::ExitStatusExt;
                return (status.code().or(status.signal().map(|signal| 128 + signal)), start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("still running after {limit:?}; it logged:\n{}", self.log());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read, into: &Mutex<String>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

/// `rtcam: open http://127.0.0.1:40001/ in a browser`
fn address_in(line: &str) -> Option<SocketAddr> {
    line.split("http://").nth(1)?.split('/').next()?.parse().ok()
}
