//! HTTP as a sensor speaks it: with curl, or over a bare socket where a process for each request would be too slow.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// One connection that is kept alive (RFC 9112 §9.3).
pub struct Http {
    stream: BufReader<TcpStream>,
}

impl Http {
    /// Connects.
    pub fn connect(address: &str) -> io::Result<Http> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Http { stream: BufReader::new(stream) })
    }

    /// One request and its answer: status and body.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<(u16, Vec<u8>)> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        fields.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str("\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat())?;
        self.answer()
    }

    /// POST.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)], body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        self.request("POST", path, fields, body)
    }

    /// Hands over one message and gives its id. Tries again while the agent is busy, as every sensor should; else the
    /// message must be stored.
    pub fn store(&mut self, path: &str, payload: &str) -> u64 {
        let body = self.take(path, &[], payload.as_bytes());
        let answer: Value = serde_json::from_slice(&body).expect("the answer is JSON");
        answer["stored"].as_u64().unwrap_or_else(|| panic!("no id in {answer}"))
    }

    /// The same with any body; gives the answer's.
    pub fn take(&mut self, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let (status, answer) = self.post(path, fields, body).expect("the agent answers");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        answer
    }

    fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
        let status = self.line()?.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(invalid)?;
        let mut length = 0;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| invalid())?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, body))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

/// Runs curl and gives the status and the body.
pub fn curl(arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"])
        .args(arguments)
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("curl writes the status last");
    let failure = String::from_utf8_lossy(&output.stderr);
    (status.parse().unwrap_or_else(|_| panic!("{status}: {failure}")), body.to_owned())
}
