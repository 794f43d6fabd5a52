//! Signed URLs of the CDN: `ex` and `is` in hexadecimal seconds, `hm` over the path and both.

use data_encoding::HEXLOWER;

/// Signs and checks.
#[derive(Debug)]
pub(crate) struct Signer {
    key: [u8; 32],
    base: String,
}

impl Signer {
    pub(crate) fn new(key: [u8; 32], base: String) -> Self {
        Self { key, base }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// An absolute URL for an attachment's path, valid for at most `lifetime_s`. The signature is made
    /// anew only a few times in that span, so two answers soon after each other give one URL.
    pub(crate) fn url(&self, path: &str, now_ms: u64, lifetime_s: u64) -> String {
        format!(
            "{}{path}?{}",
            self.base,
            self.query(path, now_ms, lifetime_s)
        )
    }

    pub(crate) fn query(&self, path: &str, now_ms: u64, lifetime_s: u64) -> String {
        let step_s = (lifetime_s / 24).max(1);
        let issued = now_ms / 1000 / step_s * step_s;
        let expires = issued + lifetime_s;
        let mac = self.mac(path, expires, issued);
        format!("ex={expires:x}&is={issued:x}&hm={mac}&")
    }

    /// Is the query of a URL for this path genuine, and not yet expired?
    pub(crate) fn is_valid(&self, path: &str, query: &str, now_ms: u64) -> bool {
        let hex = |name| u64::from_str_radix(value(query, name)?, 16).ok();
        let (Some(expires), Some(issued), Some(mac)) = (hex("ex"), hex("is"), value(query, "hm"))
        else {
            return false;
        };
        now_ms < expires.saturating_mul(1000) && mac == self.mac(path, expires, issued)
    }

    fn mac(&self, path: &str, expires: u64, issued: u64) -> String {
        let signed = format!("{path}?ex={expires:x}&is={issued:x}");
        HEXLOWER.encode(blake3::keyed_hash(&self.key, signed.as_bytes()).as_bytes())
    }
}

fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_valid_until_it_expires_and_for_its_path_only() {
        let signer = Signer::new([7; 32], "http://127.0.0.1:1".to_owned());
        let now_ms = 1_700_000_000_000;
        let url = signer.url("/attachments/1/2/a.bin", now_ms, 100);
        let (path, query) = url["http://127.0.0.1:1".len()..]
            .split_once('?')
            .expect("a query");
        assert!(query.ends_with('&'));
        assert!(signer.is_valid(path, query, now_ms));
        assert!(!signer.is_valid(path, query, now_ms + 100_000));
        assert!(!signer.is_valid("/attachments/1/3/a.bin", query, now_ms));
        assert!(!signer.is_valid(path, "", now_ms));
    }
}
