//! The real program: run to its end, or running beside the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// How long a line may be waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program with these arguments, in this folder, without settings from the test's own environment.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fixture"));
    command.args(args).current_dir(folder);
    for (key, _) in std::env::vars_os() {
        let key_text = key.to_string_lossy();
        if key_text.starts_with("RECEIVER_") || key_text == "CARGO_MANIFEST_DIR" {
            command.env_remove(key);
        }
    }
    command
}

/// What the program prints and how it ends.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).stdin(Stdio::null()).output().unwrap()
}

/// As [`run`], with something to read.
pub(crate) fn run_with(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut command = command(folder, args);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What the program printed; it must have ended well.
#[track_caller]
pub(crate) fn printed(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {text} {complaint}", output.status);
    text
}

/// What the program complained of; it must have ended with exit code 2 and printed nothing.
#[track_caller]
pub(crate) fn complaint(output: Output) -> String {
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty());
    assert!(text.starts_with("error: "), "{text}");
    text
}

/// A running program; ended when dropped.
pub(crate) struct Process {
    pub(crate) address: String,
    child: Child,
    stdout: Option<BufReader<std::process::ChildStdout>>,
    lines: Receiver<String>,
    seen: Vec<Value>,
}

impl Process {
    /// Runs `serve` in this folder with these settings, on a free port unless they name one.
    pub(crate) fn serve(folder: &Path, settings: &str) -> Process {
        std::fs::write(folder.join("receiver.toml"), settings).unwrap();
        let listen =
            if settings.contains("listen =") { vec![] } else { vec!["--listen", "127.0.0.1:0"] };
        let args = [&["serve"], listen.as_slice()].concat();
        Process::start(&mut command(folder, &args))
    }

    /// Starts a receiver or a worker, and waits until it listens or works.
    pub(crate) fn start(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let stdout = child.stdout.take().map(BufReader::new);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        let address = String::new();
        let mut process = Process { address, child, stdout, lines, seen: Vec::new() };
        let begins = |line: &Value| line["message"] == "receiving" || line["message"] == "working";
        let begun = process.wait_for(begins);
        // A worker may have none.
        let address = begun["address"].as_str().or(begun["monitor"].as_str()).unwrap_or_default();
        process.address = address.replace("0.0.0.0", "127.0.0.1");
        process
    }

    /// The first log line from now on that is as asked for.
    pub(crate) fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("waited in vain; so far: {:#?}", self.seen));
            let line: Value = serde_json::from_str(&line)
                .unwrap_or_else(|_| panic!("the log is JSON lines: {line}"));
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Reads standard output up to the line that is as asked for.
    pub(crate) fn stdout_until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        let stdout = self.stdout.as_mut().unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "{text}");
            text += &line;
            if wanted(&line) {
                return text;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends it as a service manager would, and returns the whole log.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.signal("TERM");
        self.wait_for(|line| line["message"] == "stopped");
        assert!(self.child.wait().unwrap().success());
        let mut rest = String::new();
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_string(&mut rest).unwrap();
        }
        assert_eq!(rest, "", "the log is not mixed with other output");
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
