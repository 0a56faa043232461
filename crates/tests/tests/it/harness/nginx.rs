//! A real nginx on loopback, with the documented server block or a broken version of it, and certificates for it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long nginx may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server block that `docs/operation.md` prints.
const SERVER: &str = include_str!("nginx.conf");

/// Where distributions keep the module that lets a test change bodies.
const LUA: [&str; 2] = [
    "/usr/lib/nginx/modules/ngx_http_lua_module.so",
    "/usr/lib64/nginx/modules/ngx_http_lua_module.so",
];

/// Whether nginx and what the tests need beside it is installed. Where tests must not be skipped, it has to be.
pub(crate) fn is_installed() -> bool {
    let runs = |command: &str, argument: &str| {
        let mut command = Command::new(command);
        command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let is = runs("nginx", "-v") && runs("openssl", "version") && lua().is_some();
    assert!(is || std::env::var_os("CI").is_none(), "nginx with Lua and openssl are not installed");
    if !is {
        eprintln!("skipped: nginx with its Lua module, or openssl, is not installed");
    }
    is
}

fn lua() -> Option<&'static str> {
    LUA.into_iter().find(|module| Path::new(module).exists())
}

/// The documented server block, on this port, before this receiver.
pub(crate) fn documented_block(port: u16, receiver: &str) -> String {
    [
        ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
        ("server_name hooks.example.com;", "server_name localhost;".to_owned()),
        ("/etc/ssl/hooks.example.com.pem", "good.pem".to_owned()),
        ("/etc/ssl/hooks.example.com.key", "leaf.key".to_owned()),
        ("(stage/)?api", "(stage/|signed/|slack/|github/)?api".to_owned()),
        ("http://127.0.0.1:8080", format!("http://{receiver}")),
    ]
    .into_iter()
    .fold(SERVER.to_owned(), |block, (from, to)| {
        assert!(block.contains(from), "the block has no {from}");
        block.replace(from, &to)
    })
}

/// A running nginx; ended when dropped.
pub(crate) struct Nginx {
    child: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Starts with this in its `http` block; `port` is one that it listens on.
    pub(crate) fn start(certificates: &Certificates, port: u16, http: &str) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let keys = certificates.0.path().display();
        let http = http.replace("ssl_certificate     ", &format!("ssl_certificate     {keys}/"));
        let http = http.replace("ssl_certificate_key ", &format!("ssl_certificate_key {keys}/"));
        let modules = lua().unwrap();
        let ndk = modules.replace("ngx_http_lua_module", "ndk_http_module");
        let text = format!(
            "load_module {ndk};\nload_module {modules};\ndaemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{}}\nhttp {{\naccess_log off;\nclient_body_temp_path {at}/body;\nproxy_temp_path {at}/proxy;\n\
             fastcgi_temp_path {at}/f;\nuwsgi_temp_path {at}/u;\nscgi_temp_path {at}/s;\nlua_package_path '/usr/share/lua/5.1/?.lua;;';\n{http}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
        let errors = folder.path().join("stderr");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let nginx = Nginx { child, _folder: folder };
        let start = Instant::now();
        // nginx has no signal for "listening".
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = fs::read_to_string(&errors).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "nginx does not listen: {said}");
            std::thread::sleep(Duration::from_millis(5));
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder with `ca.pem` and what it has issued: `good.pem`, `soon.pem`, `expired.pem`, `other.pem`; and `self.pem`, which has
/// signed itself; their key is `leaf.key`.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn make() -> Certificates {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"
set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=Test CA" -keyout ca.key -out ca.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=leaf" -keyout leaf.key -out leaf.csr
issue() {
    printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "$2" >ext
    openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days "$3" -extfile ext -out "$1.pem"
}
issue good IP:127.0.0.1 29
issue soon IP:127.0.0.1 10
printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' >ext
openssl req -x509 -key leaf.key -days 30 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -out self.pem
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=db\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >conf
: >db
openssl ca -batch -config conf -rand_serial -cert ca.pem -keyfile ca.key -in leaf.csr -extfile ext -notext -out expired.pem \
    -startdate 20200101000000Z -enddate 20200301000000Z
issue other DNS:elsewhere.example 29
"#;
        let output = Command::new("sh").args(["-c", script]).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Certificates(folder)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }
}
