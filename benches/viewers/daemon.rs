//! The program under measurement: started, read through /proc, stopped.

use crate::Failure;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The unit of /proc, whatever the kernel's own (USER_HZ: 100 on ARM and x86).
const MS_PER_TICK: f64 = 10.0;

pub struct Daemon {
    child: Child,
    /// `host:port` of its WHEP.
    pub whep: String,
}

pub struct Reading {
    pub rss_kb: f64,
    pub cpu_ms: f64,
    pub threads_ms: BTreeMap<String, f64>,
}

impl Daemon {
    pub fn start(max_viewers: usize) -> Result<Daemon, Failure> {
        let program = std::env::var("RTCAM_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_rtcam").into());
        let mut command = Command::new(std::path::absolute(program)?);
        command.arg("run").stdout(Stdio::piped()).stderr(Stdio::null());
        let viewers = format!("webrtc.max_viewers={max_viewers}");
        for setting in ["camera.source=pattern", "http.listen=127.0.0.1:0", "webrtc.udp_port=0", &viewers] {
            command.args(["--set", setting]);
        }
        // away from any config file that lies about
        let mut child = command.current_dir(std::env::temp_dir()).spawn()?;
        let said = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines().next();
        let daemon = |whep| Daemon { child, whep };
        let line = said.ok_or("the daemon ended at once")??;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        address.map(|address| daemon(address.to_string())).ok_or_else(|| format!("no address in: {line}").into())
    }

    pub fn read(&self) -> Result<Reading, Failure> {
        let folder = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let mut threads_ms = BTreeMap::new();
        for entry in std::fs::read_dir(format!("{folder}/task"))? {
            let (name, ms) =
                thread_cpu(&std::fs::read_to_string(entry?.path().join("stat"))?).ok_or("a strange stat")?;
            *threads_ms.entry(name).or_insert(0.0) += ms;
        }
        let whole = std::fs::read_to_string(format!("{folder}/stat"))?;
        let (_, cpu_ms) = thread_cpu(&whole).ok_or("a strange stat")?;
        Ok(Reading { rss_kb: rss.trim().trim_end_matches(" kB").parse()?, cpu_ms, threads_ms })
    }
}

/// Name and CPU time of a stat file's line: `1 (name) S ...`, where utime and stime are fields 14 and 15.
fn thread_cpu(stat: &str) -> Option<(String, f64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_string();
    let mut fields = rest.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some((name, ticks as f64 * MS_PER_TICK))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
