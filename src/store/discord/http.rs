//! The HTTP clients, and bodies that are sent from where they lie.

use std::{
    error::Error as _,
    iter,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream;
use reqwest::{Body, Client, ClientBuilder, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use tokio::time::sleep;

use super::settings::Settings;
use crate::store::{Error, Object};

/// Bodies go to the socket in pieces of this size, so that no more than a few of them wait in it.
const PIECE_BYTES: usize = 64 * 1024;

/// One client for each kind of traffic, so that none waits in another's connection.
#[derive(Debug)]
pub(super) struct Clients {
    /// Small requests.
    pub(super) api: Client,
    /// Requests with bodies of many megabytes.
    pub(super) upload: Client,
    /// Downloads; knows no token.
    pub(super) cdn: Client,
}

impl Clients {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let tls = tls(&settings.api_base)?;
        let base = || {
            let builder = Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(&settings.user_agent)
                .redirect(Policy::none())
                .connect_timeout(settings.request_timeout)
                .pool_max_idle_per_host(settings.downloads_max)
                // HTTP/2 would send everything over one connection, at the speed of one connection.
                .http1_only();
            if is_loopback(&settings.api_base) {
                builder.no_proxy()
            } else {
                builder
            }
        };
        let built = |builder: ClientBuilder| {
            builder.build().map_err(|error| Error::Broken {
                what: format!("no HTTP client: {}", reason(error)),
            })
        };
        Ok(Self {
            api: built(base())?,
            // A silence on the way up is for `Progress` to notice: this client's own clock would
            // count the whole upload as silence.
            upload: built(base())?,
            cdn: built(base().read_timeout(settings.silence_timeout))?,
        })
    }
}

/// Trusts Mozilla's list, which is built in so that no system files are needed, and the system's, so
/// that a company's own proxy is trusted where the machine trusts it.
fn tls(api_base: &str) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    // An emulator is not worth reading the system's certificates for.
    if !api_base.starts_with("http://") {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider()?))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Broken {
            what: format!("no TLS: {error}"),
        })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(feature = "tls")]
fn provider() -> Result<CryptoProvider, Error> {
    Ok(rustls::crypto::ring::default_provider())
}

/// Makes the TLS of this program known to the gateway's client, which has no other way to be told.
///
/// # Errors
/// [`Error::Broken`] when the program was built without TLS.
pub fn offer_tls() -> Result<(), Error> {
    // Refused when there is one already, which is as good.
    drop(provider()?.install_default());
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn provider() -> Result<CryptoProvider, Error> {
    Err(Error::Broken {
        what: String::from("this program was built without TLS (feature `tls`)"),
    })
}

fn is_loopback(base: &str) -> bool {
    let host = reqwest::Url::parse(base).ok();
    let host = host.as_ref().and_then(|url| url.host_str()).unwrap_or("");
    let address = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

/// What went wrong, without the address, which may be signed: the first and the last of the chain.
pub(super) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut last = None;
    let mut next = error.source();
    while let Some(source) = next {
        last = Some(source);
        next = source.source();
    }
    match last {
        Some(last) => format!("{error}: {last}"),
        None => error.to_string(),
    }
}

/// A message and its attachments as `multipart/form-data`. Cheap to clone and to send again.
#[derive(Clone, Debug)]
pub(super) struct Form {
    boundary: String,
    parts: Vec<Bytes>,
    bytes: u64,
}

impl Form {
    /// `payload` is the message as JSON; the objects become `files[0]`, `files[1]`, ….
    pub(super) fn new(payload: &[u8], objects: &[Object]) -> Result<Self, Error> {
        let files = objects
            .iter()
            .map(|object| (object.name.as_str(), object.body.parts()));
        Self::of(payload, files)
    }

    /// The same with files for people. A name loses what a header cannot hold.
    pub(super) fn plain(payload: &[u8], files: &[(String, Vec<Bytes>)]) -> Result<Self, Error> {
        let safe = |name: &str| {
            let harmless = |c: char| !c.is_control() && !matches!(c, '"' | '\\' | '/');
            let safe = name.chars().map(|c| if harmless(c) { c } else { '_' });
            safe.collect::<String>()
        };
        let names: Vec<String> = files.iter().map(|(name, _)| safe(name)).collect();
        let parts = files.iter().map(|(_, parts)| &parts[..]);
        Self::of(payload, names.iter().map(String::as_str).zip(parts))
    }

    fn of<'a>(
        payload: &[u8],
        files: impl Iterator<Item = (&'a str, &'a [Bytes])>,
    ) -> Result<Self, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Error::Broken {
            what: format!("no random numbers: {error}"),
        })?;
        let boundary = format!("ods-{}", HEXLOWER.encode(&random));
        let mut head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"payload_json\"\r\n\
             Content-Type: application/json\r\n\r\n"
        )
        .into_bytes();
        head.extend_from_slice(payload);
        let mut parts = vec![Bytes::from(head)];
        for (at, (name, body)) in files.enumerate() {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"files[{at}]\"; filename=\"{name}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            );
            parts.push(head.into());
            parts.extend(body.iter().cloned());
        }
        parts.push(format!("\r\n--{boundary}--\r\n").into());
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        Ok(Self {
            boundary,
            parts,
            bytes,
        })
    }

    /// Length of the whole body.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The body; shares the bytes, copies none.
    pub(super) fn body(&self, progress: &Progress) -> Body {
        let taken = progress.0.clone();
        let pieces = self.parts.clone().into_iter().flat_map(move |mut rest| {
            let taken = taken.clone();
            iter::from_fn(move || {
                let piece = rest.split_to(rest.len().min(PIECE_BYTES));
                taken.fetch_add(piece.len() as u64, Ordering::Relaxed);
                (!piece.is_empty()).then_some(Ok::<_, std::io::Error>(piece))
            })
        });
        Body::wrap_stream(stream::iter(pieces))
    }
}

/// Bytes of a body that the connection has taken.
#[derive(Debug, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Ready when nothing of `total` bytes was taken for `silence` though some were left.
    pub(super) async fn stalled(&self, total: u64, silence: Duration) {
        let mut before = 0;
        loop {
            sleep(silence).await;
            let taken = self.0.load(Ordering::Relaxed);
            if taken == before && taken < total {
                return;
            }
            before = taken;
        }
    }
}
