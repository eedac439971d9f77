//! Runs `trivium` as a process of its own.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::models;

/// A command of the binary under test. Its configuration is the test's alone.
pub fn trivium(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trivium"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        if name.starts_with("TRIVIUM_") || name.starts_with("OTEL_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.env("TRIVIUM_MODELS_DIR", models::folder());
    command
}

/// What a process that has ended said and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ended {
    command.output().expect("the binary starts").into()
}

/// Services that run in a process of their own; they are killed when this is dropped.
pub struct Running {
    child: Child,
    /// The line that says that they are ready.
    ready: String,
    log: std::thread::JoinHandle<String>,
}

impl Running {
    /// Starts a command, and waits for its `ready` line.
    pub fn start(command: Command) -> Self {
        Self::try_start(command).unwrap_or_else(|ended| panic!("the services are not ready: {ended:?}"))
    }

    /// Starts a command, and waits for its `ready` line or its end.
    pub fn try_start(mut command: Command) -> Result<Self, Ended> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        // The log must be read, or the process would wait for room in the pipe.
        let log = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default());
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("readable");
        if !ready.starts_with("ready ") {
            let code = child.wait().expect("waited for").code();
            return Err(Ended { code, stdout: ready, stderr: log.join().expect("read") });
        }
        Ok(Self { child, ready, log })
    }

    /// `trivium up` on free ports, with its collections in `data`.
    pub fn up(data: &Path) -> Self {
        Self::start(up_command(data))
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address of one of the services.
    pub fn addr(&self, service: &str) -> &str {
        let prefix = format!("{service}=");
        self.ready.split_whitespace().find_map(|word| word.strip_prefix(&prefix)).expect("the service is ready")
    }

    /// A client command that talks to these services.
    pub fn client(&self, args: &[&str]) -> Command {
        let mut command = trivium(args);
        let variables = [
            ("router", "TRIVIUM_ENDPOINT"),
            ("retriever", "TRIVIUM_RETRIEVER_ENDPOINT"),
            ("model-host", "TRIVIUM_MODEL_HOST_ENDPOINT"),
        ];
        for (service, variable) in variables {
            command.env(variable, format!("http://{}", self.addr(service)));
        }
        command
    }

    /// Runs a client command that must do its job, and reads its JSON document.
    pub fn json(&self, args: &[&str]) -> Value {
        let ended = run(self.client(args));
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", ended.stdout))
    }

    /// Whether the process has ended by itself. One that has closed its connections may take a moment more.
    pub fn has_died(&mut self) -> bool {
        (0..500).any(|_| {
            let ended = self.child.try_wait().expect("asked").is_some();
            if !ended {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            ended
        })
    }

    /// Ends the process at once, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
    }

    /// Asks the process to stop, and waits until it has. Gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.terminate()
    }
}

impl Running {
    /// As [`Running::stop`]; gives the log as well.
    pub fn stop_with_log(mut self) -> (Option<i32>, String) {
        let code = self.terminate();
        // The thread ends with the process, which has closed its end.
        let log = std::mem::replace(&mut self.log, std::thread::spawn(String::new));
        (code, log.join().expect("read"))
    }

    fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(asked.success());
        self.child.wait().expect("waited for").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command of [`Running::up`].
pub fn up_command(data: &Path) -> Command {
    let any = "127.0.0.1:0";
    let mut command = trivium(&["up", "--router-addr", any, "--retriever-addr", any, "--model-host-addr", any]);
    command.arg("--data").arg(data);
    command
}
