//! QEMU's own protocol (QMP): one JSON object a line, over a Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::error::{Error, system};

/// How long QEMU may take to open its socket, or to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    pub(super) fn connect(socket: &Path) -> Result<Self, Error> {
        let until = Instant::now() + TIMEOUT;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(e) if Instant::now() > until => return Err(system("QEMU does not come up")(e)),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.set_read_timeout(Some(TIMEOUT)).map_err(system("QEMU's socket"))?;
        let mut qmp = Self { reader: BufReader::new(stream) };
        qmp.read()?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Has QEMU carry out a command; gives what it returns.
    pub(super) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        let line = json!({"execute": command, "arguments": arguments}).to_string() + "\n";
        let stream = self.reader.get_mut();
        stream.write_all(line.as_bytes()).map_err(system(format!("QEMU is gone, at {command}")))?;
        loop {
            let answer = self.read()?;
            if let Some(error) = answer.get("error") {
                return Err(Error::Refused(format!("QEMU refuses {command}: {}", error["desc"])));
            }
            // Everything else is an event.
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    fn read(&mut self) -> Result<Value, Error> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line).map_err(system("QEMU does not answer"))?;
        if read == 0 {
            return Err(Error::Refused("QEMU has ended".into()));
        }
        serde_json::from_str(&line).map_err(|e| Error::Refused(format!("QEMU says nonsense: {e}")))
    }
}
