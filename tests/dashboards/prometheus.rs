//! A real Prometheus that scrapes what it is told to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::root;
use super::support::{free_port, wait_until};

/// A running Prometheus; dropped, it is killed and its data removed.
pub struct Prometheus {
    port: u16,
    child: Child,
    directory: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes these admin ports each second, and evaluates the project's rules.
    pub fn start(targets: &[u16]) -> Prometheus {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let targets: Vec<String> = targets.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n\
             - {{job_name: interlock, static_configs: [{{targets: [{}]}}]}}\n",
            root().join("dashboards/prometheus/rules.yml").display(),
            targets.join(", "),
        );
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("it can be written");
        let port = free_port();
        let log = std::fs::File::create(directory.path().join("log")).expect("it can be written");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed (tests/support/setup)");
        let prometheus = Prometheus { port, child, directory };
        wait_until("Prometheus is ready", Duration::from_secs(60), || {
            prometheus.get("/-/ready").is_some_and(|(status, _)| status == 200)
        });
        prometheus
    }

    /// The samples of an instant query: labels and value.
    pub fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let mut answer = self.ask(&format!("/api/v1/query?query={}", encode(expression)), expression);
        let Value::Array(list) = answer["data"]["result"].take() else { panic!("{expression}: {answer}") };
        let number = |value: &Value| value[1].as_str().and_then(|text| text.parse().ok()).expect("a number");
        list.into_iter().map(|mut sample| (sample["metric"].take(), number(&sample["value"]))).collect()
    }

    /// The recording and alert rules as Prometheus sees them.
    pub fn rules(&self) -> Vec<Value> {
        let answer = self.ask("/api/v1/rules", "rules");
        let groups = answer["data"]["groups"].as_array().expect("groups are a list");
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules are a list").clone()).collect()
    }

    fn ask(&self, path: &str, what: &str) -> Value {
        let (status, body) = self.get(path).expect("Prometheus answers");
        let answer: Value = serde_json::from_str(&body).expect("the answer is JSON");
        assert_eq!((status, answer["status"].as_str()), (200, Some("success")), "{what}: {body}");
        answer
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("--- Prometheus said:\n{log}");
        }
    }
}

/// Percent-encodes everything that is not plain.
fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
