//! Content filters of other people: rspamd, OpenDKIM, ClamAV; each with files and ports of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::newer::Release;
use crate::process::{self, Process};
use crate::{ports, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// The text that every spam filter refuses, for tests.
pub const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
/// The text that rspamd takes for probable spam, when its test patterns are on.
pub const GTUBE_ADD_HEADER: &str = "YJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
/// What [`Clamav`] takes for a virus.
pub const VIRUS: &str = "postern-test-virus-f2a7c1";

/// An rspamd: scanning and learning, no plugins, no network. It ends when it is dropped.
#[derive(Debug)]
pub struct Rspamd {
    process: Process,
    /// Where it keeps what it learned, as its packages have it. With SQLite it said 500 now and then: its own workers
    /// lock each other out.
    _redis: Option<Process>,
    /// The address where it scans messages.
    pub scanner: SocketAddr,
    /// The address where it is taught.
    pub controller: SocketAddr,
    _dir: TempDir,
}

fn directory(name: &str) -> TempDir {
    let dir = crate::leavings::dir(name);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(dir.path(), open).expect("permissions");
    dir
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

fn wait_for(process: &mut Process, what: &str, address: SocketAddr) {
    until(&format!("{what} listens"), PATIENCE, || {
        assert!(process.is_running(), "{what} ended:\n{}", process.log());
        TcpStream::connect(address).ok()
    });
}

/// A Redis that keeps nothing on disk, and its address.
fn redis(dir: &Path) -> (SocketAddr, Process) {
    let address = ports::free();
    let mut command = process::command(None, "redis-server");
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no"]).arg("--dir").arg(dir);
    let mut process = Process::start(command, &dir.join("redis.log"));
    wait_for(&mut process, "Redis", address);
    (address, process)
}

impl Rspamd {
    /// Starts one whose controller wants this password.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(password: &str) -> Self {
        let dir = directory("rspamd");
        let (scanner, controller, silent) = (ports::free(), ports::free(), ports::free());
        let (redis_address, redis) = redis(dir.path());
        let at = dir.path().display();
        let text = format!(
            r#"options {{ pidfile = "{at}/pid"; tempdir = "{at}"; rrd = ""; history_rows = 10;
                filters = ""; disable_hyperscan = true; hs_cache_dir = "{at}"; enable_test_patterns = true; url_tld = "/usr/share/rspamd/effective_tld_names.dat";
                dns {{ nameserver = ["{silent_ip}:{silent_port}"]; timeout = 0.1s; retransmits = 1; }}
                local_addrs = ["127.0.0.0/8"]; words_decay = 600; }}
            logging {{ type = "console"; level = "info"; }}
            actions {{ reject = 15; add_header = 6; greylist = 4; }}
            worker "normal" {{ bind_socket = "{scanner}"; count = 1; }}
            worker "controller" {{ bind_socket = "{controller}"; count = 1; password = "{password}"; }}
            classifier "bayes" {{ tokenizer {{ name = "osb"; }} backend = "redis"; servers = "{redis_address}";
                min_tokens = 1; min_learns = 1; new_schema = true;
                cache {{ type = "redis"; servers = "{redis_address}"; }}
                statfile {{ symbol = "BAYES_HAM"; spam = false; }}
                statfile {{ symbol = "BAYES_SPAM"; spam = true; }} }}
            "#,
            silent_ip = silent.ip(),
            silent_port = silent.port(),
        );
        let config = write(dir.path(), "rspamd.conf", &text);
        let mut command = process::command(None, "rspamd");
        command.args(["--no-fork", "--insecure", "--config"]).arg(config);
        let mut process = Process::start(command, &dir.path().join("log"));
        wait_for(&mut process, "rspamd", scanner);
        wait_for(&mut process, "rspamd's controller", controller);
        Self { process, _redis: Some(redis), scanner, controller, _dir: dir }
    }

    /// Starts that of another Debian as its package has it: all modules, no Redis. What scores at all is greylisted.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn stock(release: Release) -> Self {
        let dir = directory("rspamd");
        let (scanner, controller, silent) = (ports::free(), ports::free(), ports::free());
        std::fs::create_dir(dir.path().join("local.d")).expect("a directory");
        let dns = format!(
            "dns {{ nameserver = [\"{}:{}\"]; timeout = 0.1s; retransmits = 1; }}\n",
            silent.ip(),
            silent.port()
        );
        for (name, text) in [
            ("worker-normal.inc", format!("bind_socket = \"{scanner}\"; count = 1;\n")),
            ("worker-controller.inc", format!("bind_socket = \"{controller}\"; password = \"x\";\n")),
            ("worker-proxy.inc", "enabled = false;\n".to_owned()),
            ("logging.inc", "type = \"console\"; level = \"info\";\n".to_owned()),
            ("options.inc", dns),
            ("actions.conf", "greylist = 0.5; add_header = 60; reject = 100;\n".to_owned()),
        ] {
            write(&dir.path().join("local.d"), name, &text);
        }
        let (own, at) = (release.root().join("etc/rspamd"), dir.path().display());
        let mut command = release.command(None, "rspamd");
        command.args(["--no-fork", "--insecure", "--config"]).arg(own.join("rspamd.conf"));
        command.arg(format!("--var=CONFDIR={}", own.display()));
        for name in ["LOCAL_CONFDIR", "DBDIR", "RUNDIR", "LOGDIR"] {
            command.arg(format!("--var={name}={at}"));
        }
        let mut process = Process::start(command, &dir.path().join("log"));
        wait_for(&mut process, "rspamd", scanner);
        wait_for(&mut process, "rspamd's controller", controller);
        Self { process, _redis: None, scanner, controller, _dir: dir }
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// An OpenDKIM that verifies or signs. It ends when it is dropped.
#[derive(Debug)]
pub struct OpenDkim {
    process: Process,
    /// The address where it takes messages.
    pub address: SocketAddr,
    _dir: TempDir,
}

impl OpenDkim {
    /// Starts one that writes what it found into each message. It asks this name server for keys.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(name_server: SocketAddr) -> Self {
        let dir = directory("opendkim");
        let resolver = format!(
            "server:\n do-not-query-localhost: no\n module-config: \"iterator\"\n\
             forward-zone:\n name: \".\"\n forward-addr: {}@{}\n",
            name_server.ip(),
            name_server.port()
        );
        let resolver = write(dir.path(), "resolver.conf", &resolver);
        let mode = format!(
            "Mode v\nAlwaysAddARHeader yes\nResolverConfiguration {}\nDNSTimeout 5\nMinimumKeyBits 1024\n",
            resolver.display()
        );
        Self::launch(dir, &mode)
    }

    /// Starts one that signs what comes from this host for a domain. The key is `sel`, a PEM file; the forms are
    /// those of `c=`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn signer(domain: &str, key: &Path, algorithm: &str, forms: &str) -> Self {
        // As Debian has it, From is signed once more than it is there: none can be added.
        let mode = format!(
            "Mode s\nDomain {domain}\nSelector sel\nKeyFile {}\nRequireSafeKeys no\n\
             SignatureAlgorithm {algorithm}\nCanonicalization {forms}\nOversignHeaders From\n",
            key.display()
        );
        Self::launch(directory("opendkim"), &mode)
    }

    fn launch(dir: TempDir, mode: &str) -> Self {
        let address = ports::free();
        let text = format!("Socket inet:{}@127.0.0.1\nSyslog no\n{mode}", address.port());
        let config = write(dir.path(), "opendkim.conf", &text);
        let mut command = process::command(None, "opendkim");
        command.args(["-f", "-x"]).arg(config);
        let mut process = Process::start(command, &dir.path().join("log"));
        wait_for(&mut process, "OpenDKIM", address);
        Self { process, address, _dir: dir }
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// A clamd that knows one virus, [`VIRUS`], and its milter. Both end when it is dropped.
#[derive(Debug)]
pub struct Clamav {
    _milter: Process,
    _clamd: Process,
    /// Where the milter takes messages.
    pub address: SocketAddr,
    _dir: TempDir,
}

impl Clamav {
    /// Starts both. What the milter does with an infected message is `on_infected`: `Reject`, `Quarantine` …
    ///
    /// # Panics
    /// When one does not start.
    #[must_use]
    pub fn start(on_infected: &str) -> Self {
        let dir = directory("clamav");
        let (socket, address) = (dir.path().join("clamd.sock"), ports::free());
        let signatures = dir.path().join("signatures");
        std::fs::create_dir(&signatures).expect("a directory");
        let hex: String = VIRUS.bytes().map(|octet| format!("{octet:02x}")).collect();
        write(&signatures, "test.ndb", &format!("Postern.Test:0:*:{hex}\n"));
        let text = format!(
            "LocalSocket {}\nDatabaseDirectory {}\nForeground yes\nUser root\nTemporaryDirectory {}\n",
            socket.display(),
            signatures.display(),
            dir.path().display()
        );
        let config = write(dir.path(), "clamd.conf", &text);
        let mut command = process::command(None, "clamd");
        command.arg("--config-file").arg(config);
        let mut clamd = Process::start(command, &dir.path().join("clamd.log"));
        until("clamd listens", PATIENCE, || {
            assert!(clamd.is_running(), "clamd ended:\n{}", clamd.log());
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        let text = format!(
            "MilterSocket inet:{}@127.0.0.1\nClamdSocket unix:{}\nForeground yes\nUser root\n\
             OnInfected {on_infected}\nOnFail Defer\nAddHeader Add\nTemporaryDirectory {}\n",
            address.port(),
            socket.display(),
            dir.path().display()
        );
        let config = write(dir.path(), "milter.conf", &text);
        let mut command = process::command(None, "clamav-milter");
        command.arg("--config-file").arg(config);
        let mut milter = Process::start(command, &dir.path().join("milter.log"));
        wait_for(&mut milter, "clamav-milter", address);
        Self { _milter: milter, _clamd: clamd, address, _dir: dir }
    }
}

/// A request that came to a [`ScriptedHttp`].
#[derive(Debug, Clone)]
pub struct Request {
    /// The request line and the fields.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// A service that answers every HTTP request the same and remembers them. Its thread ends with the test.
#[derive(Debug)]
pub struct ScriptedHttp {
    /// The address that it listens on.
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl ScriptedHttp {
    /// Starts one that answers 200 with this JSON.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start(answer: &str) -> Self {
        let listener = TcpListener::bind(ports::free()).expect("a port");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), answer.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(request) = serve(&stream, &answer) {
                    seen.lock().expect("the requests").push(request);
                }
            }
        });
        Self { address, requests }
    }

    /// Requests that came so far.
    ///
    /// # Panics
    /// Never, unless its thread did.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the requests").clone()
    }
}

fn serve(mut stream: &TcpStream, answer: &str) -> Option<Request> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let octets = answer.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {octets}\r\n\r\n{answer}");
    stream.write_all(answer.as_bytes()).ok()?;
    Some(Request { head, body })
}
