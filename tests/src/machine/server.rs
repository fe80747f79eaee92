//! A server of files over HTTPS, as a machine in QEMU reaches it: QEMU starts it anew for each connection,
//! which is its standard input and output. It answers one GET (RFC 9112) and ends.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::error::{Error, system};

/// The server's address, as a machine sees it.
pub const ADDRESS: &str = "10.0.2.100";
/// The most of a request that is read, in bytes.
const REQUEST_MOST: u64 = 8192;

/// What it is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The folder with the files.
    #[arg(long)]
    folder: PathBuf,
    /// Where [`Server::new`] left the certificate and its key.
    #[arg(long)]
    certificate: PathBuf,
}

/// One that a machine is to reach.
pub struct Server {
    /// What QEMU is to start.
    pub command: String,
    /// Its certificate, as PEM.
    pub certificate: String,
}

impl Server {
    /// Of the files in `folder`; its certificate lies in `work`.
    ///
    /// # Errors
    /// When no certificate can be made or kept.
    pub fn new(folder: &Path, work: &Path) -> Result<Self, Error> {
        let refused = |e: rcgen::Error| Error::Refused(format!("no certificate: {e}"));
        let made = rcgen::generate_simple_self_signed(vec![ADDRESS.to_owned()]).map_err(refused)?;
        let place = work.join("server.pem");
        let certificate = made.cert.pem();
        let both = format!("{certificate}{}", made.signing_key.serialize_pem());
        fs::write(&place, both).map_err(system(place.display().to_string()))?;
        let program = std::env::current_exe().map_err(system("this program"))?;
        let command = format!(
            "{} serve --folder {} --certificate {}",
            program.display(),
            folder.display(),
            place.display()
        );
        Ok(Self { command, certificate })
    }
}

/// Answers on standard input and output.
///
/// # Errors
/// When the other end does not speak TLS or HTTP, or goes away.
pub fn serve(arguments: &Arguments) -> io::Result<()> {
    let pem = fs::read(&arguments.certificate)?;
    let chain =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    let connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, Standard::open()?);
    answer(&mut stream, &arguments.folder)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn answer(stream: &mut (impl Read + Write), folder: &Path) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(Read::by_ref(stream).take(REQUEST_MOST)).read_line(&mut request)?;
    let file = requested(&request).and_then(|name| File::open(folder.join(name)).ok());
    let Some(mut file) = file else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let size = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n")?;
    io::copy(&mut file, stream)?;
    Ok(())
}

/// The file that a request line asks for, in the folder itself.
fn requested(line: &str) -> Option<&str> {
    let name = line.strip_prefix("GET /")?.split(' ').next()?;
    (!name.is_empty() && !name.contains('/') && !name.starts_with('.')).then_some(name)
}

/// Standard input and output as one, and without buffers between.
struct Standard {
    input: File,
    output: File,
}

impl Standard {
    fn open() -> io::Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned()?.into();
        let output = io::stdout().as_fd().try_clone_to_owned()?.into();
        Ok(Self { input, output })
    }
}

impl Read for Standard {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.input.read(into)
    }
}

impl Write for Standard {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.output.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_folder_can_be_asked_for() {
        assert_eq!(requested("GET /SHA256SUMS HTTP/1.1\r\n"), Some("SHA256SUMS"));
        for line in
            ["GET / HTTP/1.1", "GET /../etc/passwd HTTP/1.1", "GET /.x HTTP/1.1", "POST /a HTTP/1.1", ""]
        {
            assert_eq!(requested(line), None, "{line}");
        }
    }
}
