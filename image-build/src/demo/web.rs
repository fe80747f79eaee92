//! The demo in a browser: one page that renews its two pictures each second.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};
use tiny_http::{Header, Response, Server};

const PAGE: &str = include_str!("page.html");

/// A web server for this machine alone. Dropping it ends it.
pub(crate) struct Web {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Serves what lies in `folder`: a.png, b.png, a.json, b.json. Takes another port when `port` is taken.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) fn start(folder: &Path, port: u16) -> Result<Self> {
        let server = Server::http(("127.0.0.1", port))
            .or_else(|_| Server::http(("127.0.0.1", 0)))
            .map_err(|error| anyhow!("the demo's web page cannot be served: {error}"))?;
        let server = Arc::new(server);
        let (at, folder) = (server.clone(), folder.to_owned());
        let thread = std::thread::Builder::new().name("web".into()).spawn(move || {
            for request in at.incoming_requests() {
                let (status, kind, body) = answer(&folder, request.url());
                let mut response = Response::from_data(body).with_status_code(status);
                for (name, value) in [("Content-Type", kind), ("Cache-Control", "no-store")] {
                    if let Ok(header) = Header::from_bytes(name, value) {
                        response.add_header(header);
                    }
                }
                // A browser that went away meanwhile.
                let _ = request.respond(response);
            }
        })?;
        Ok(Self { server, thread: Some(thread) })
    }

    /// What to type into a browser.
    pub(crate) fn address(&self) -> String {
        format!("http://{}/", self.server.server_addr())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(folder: &Path, url: &str) -> (u16, &'static str, Vec<u8>) {
    let path = url.split('?').next().unwrap_or_default();
    let file: Option<(PathBuf, _)> = match path {
        "/" => return (200, "text/html; charset=utf-8", PAGE.into()),
        "/a.png" | "/b.png" => Some((folder.join(&path[1..]), "image/png")),
        "/a.json" | "/b.json" => Some((folder.join(&path[1..]), "application/json")),
        _ => None,
    };
    match file.and_then(|(file, kind)| Some((kind, std::fs::read(file).ok()?))) {
        Some((kind, body)) => (200, kind, body),
        None => (404, "text/plain", b"not there (yet)\n".to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_demo_is_served() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), "{}").unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let status = |url| answer(folder.path(), url).0;
        assert_eq!(
            [status("/"), status("/a.json?1"), status("/b.png"), status("/secret"), status("/../a.json")],
            [200, 200, 404, 404, 404]
        );
    }

    #[test]
    fn it_starts_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let web = Web::start(folder.path(), 0).unwrap();
        assert!(web.address().starts_with("http://127.0.0.1:"));
    }
}
