//! nginx in front of a WebSocket server, as a proxy that ends TLS or with a configuration of the test's own; Caddy and Apache with one
//! of the test's own.

use std::path::Path;
use std::process::Command;

use super::{Files, Running, free_port, wait_for};

/// Tries with another port, if someone was faster.
const TRIES: usize = 5;

/// A running nginx.
pub struct Proxy {
    _process: Running,
    /// Its port on loopback.
    pub port: u16,
}

impl Proxy {
    /// Starts one with this certificate in front of a port of loopback.
    pub fn start(directory: &Path, files: &Files, upstream: u16) -> Proxy {
        let locations = format!(
            "location / {{\nproxy_pass http://127.0.0.1:{upstream};\nproxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";\n}}\n"
        );
        Proxy::serving(directory, Some(files), &locations)
    }

    /// Starts one with these locations, and with TLS if there is a certificate.
    pub fn serving(directory: &Path, files: Option<&Files>, locations: &str) -> Proxy {
        Proxy::started("nginx", |port| {
            let scratch = directory.join(format!("nginx-{port}"));
            std::fs::create_dir_all(&scratch).unwrap();
            let conf = scratch.join("nginx.conf");
            std::fs::write(&conf, configuration(&scratch, files, port, locations)).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(&scratch).arg("-c").arg(&conf);
            command
        })
    }

    /// Starts a Caddy whose site has these lines.
    pub fn caddy(directory: &Path, lines: &str) -> Proxy {
        Proxy::started("caddy", |port| {
            let file = directory.join(format!("Caddyfile-{port}"));
            let text = format!(
                "{{\nadmin off\nauto_https off\n}}\nhttp://:{port} {{\nbind 127.0.0.1\n{lines}\n}}\n"
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
            command.env("HOME", directory).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
            command
        })
    }

    /// Starts an Apache with these modules of Debian's and these lines.
    pub fn apache(directory: &Path, modules: &[&str], lines: &str) -> Proxy {
        Proxy::started("apache2", |port| {
            let file = directory.join(format!("httpd-{port}.conf"));
            let modules: String = (["mpm_event", "authz_core"].iter().chain(modules))
                .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
                .collect();
            let text = format!(
                "ServerRoot {root}\nPidFile {root}/httpd-{port}.pid\nErrorLog /dev/stderr\nListen 127.0.0.1:{port}\nServerName localhost\n\
                 User www-data\nGroup www-data\n{modules}{lines}\n",
                root = directory.display()
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("apache2");
            // In the foreground and with one process, which ends as a whole.
            command.args(["-X", "-f"]).arg(&file);
            command
        })
    }

    fn started(name: &str, command: impl Fn(u16) -> Command) -> Proxy {
        for _ in 0..TRIES {
            let port = free_port();
            let mut command = command(port);
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
            let mut process = Running::start(name, &mut command);
            if listens(&mut process, port) {
                return Proxy { _process: process, port };
            }
        }
        panic!("{name} found no free port");
    }
}

fn listens(process: &mut Running, port: u16) -> bool {
    wait_for("the proxy listens or ends", || {
        if process.ended().is_some() {
            let is_taken =
                process.lines().iter().any(|line| line.to_lowercase().contains("address already in use"));
            assert!(is_taken, "{:#?}", process.lines());
            return Some(false);
        }
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
    })
}

fn configuration(scratch: &Path, files: Option<&Files>, port: u16, locations: &str) -> String {
    let scratch = scratch.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths: String = paths.iter().map(|kind| format!("{kind}_temp_path {scratch}/{kind};\n")).collect();
    let listen = match files {
        None => format!("listen 127.0.0.1:{port};\n"),
        Some(Files { cert, key }) => format!(
            "listen 127.0.0.1:{port} ssl;\nssl_certificate {};\nssl_certificate_key {};\n",
            cert.display(),
            key.display()
        ),
    };
    format!(
        "daemon off;\nmaster_process off;\npid {scratch}/nginx.pid;\nerror_log stderr info;\nevents {{}}\n\
         http {{\naccess_log off;\n{paths}server {{\n{listen}{locations}}}\n}}\n"
    )
}
