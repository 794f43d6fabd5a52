//! A wire to the emulator that remembers everything a client sent over it.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;

/// A proxy on loopback. Its threads end with their connections.
pub(crate) struct Tap {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub(crate) fn to(target: SocketAddr) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = heard.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                let up = (client.try_clone(), server.try_clone(), all.clone());
                std::thread::spawn(move || {
                    if let (Ok(from), Ok(to), heard) = up {
                        pass(from, to, |bytes| {
                            heard.lock().expect("a lock").extend_from_slice(bytes);
                        });
                    }
                });
                std::thread::spawn(move || pass(server, client, |_| {}));
            }
        });
        Tap { address, heard }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All bytes that clients sent so far, of all connections.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard.lock().expect("a lock").clone()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut hear: impl FnMut(&[u8])) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        hear(&piece[..len]);
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

/// Is `needle` in `hay`, as it is or in one of the forms that texts take on their way?
pub(crate) fn holds(hay: &[u8], needle: &[u8]) -> bool {
    forms(needle).iter().any(|form| find(hay, form))
}

/// The bytes themselves, in hexadecimal, in base64 wherever they may begin in it, as UTF-16, backwards.
fn forms(needle: &[u8]) -> Vec<Vec<u8>> {
    use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
    let mut forms = vec![
        needle.to_vec(),
        HEXLOWER.encode(needle).into_bytes(),
        HEXUPPER.encode(needle).into_bytes(),
        needle.iter().flat_map(|byte| [*byte, 0]).collect(),
        needle.iter().rev().copied().collect(),
    ];
    for skip in 0..3.min(needle.len().saturating_sub(12)) {
        // Groups of three become groups of four; the last, which may be cut, is left away.
        let groups = &needle[skip..][..(needle.len() - skip) / 3 * 3];
        forms.push(BASE64.encode(groups).into_bytes());
        forms.push(BASE64URL.encode(groups).into_bytes());
    }
    forms
}

pub(crate) fn find(hay: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else {
        return true;
    };
    let mut left = hay;
    while let Some(at) = left.iter().position(|byte| byte == first) {
        left = &left[at + 1..];
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}
