//! Quantities: the units every limit is written in, and how people read them.

use std::fmt;

/// 1,024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1,048,576 bytes.
pub const MIB: u64 = 1 << 20;
/// 1,073,741,824 bytes.
pub const GIB: u64 = 1 << 30;

/// Shows a number of bytes the way people read it: `17 B`, `4.2 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < KIB {
            return write!(f, "{} B", self.0);
        }
        let unit = (63 - self.0.leading_zeros()) / 10;
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        let value = self.0 as f64 / (1_u64 << (10 * unit)) as f64;
        write!(f, "{value:.1} {}", UNITS[unit as usize - 1])
    }
}

/// What is wrong with a size that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a size; write a number with K, M, G or T (powers of 1024), such as 512M or 10G"
)]
pub struct NotASize(pub String);

/// Reads `512`, `64K`, `10MiB`, `1.5G`: powers of 1024 whatever the suffix style.
///
/// # Errors
/// [`NotASize`] when the text is not a number with a known suffix or does not fit in 64 bits.
pub fn parse(text: &str) -> Result<u64, NotASize> {
    let fault = || NotASize(text.to_owned());
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix
        .trim()
        .to_ascii_lowercase()
        .trim_end_matches('b')
        .trim_end_matches('i')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(fault()),
    };
    let unit = 1_u64 << shift;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(fault);
    }
    let value: f64 = number.parse().map_err(|_| fault())?;
    #[expect(clippy::cast_precision_loss, reason = "a person's decimal")]
    let bytes = value * unit as f64;
    if !(0.0..9e15).contains(&bytes) {
        return Err(fault());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "range checked"
    )]
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_show() {
        assert_eq!(parse("10G"), Ok(10 * GIB));
        assert_eq!(parse("1.5 MiB"), Ok(MIB + MIB / 2));
        assert_eq!(parse("17"), Ok(17));
        assert!(parse("ten").is_err() && parse("").is_err() && parse("99999999T").is_err());
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes(17).to_string(), "17 B");
        assert_eq!(Bytes(u64::MAX).to_string(), "16.0 EiB");
    }
}
