//! Addresses and ranges that are not written in the usual way.
//!
//! Source: kubernetes `apimachinery/pkg/util/validation/ip.go`, `GetWarningsForIP`, `GetWarningsForCIDR`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is to be said of the address `text` at `path`, if anything. What is no address is for the validation.
pub(super) fn ip(text: &str, path: &str) -> Option<String> {
    let address = parse(text)?;
    if needs_other_form(text, address) {
        let usual = plain(address);
        return Some(format!(
            "{path}: non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: use \"{usual}\""
        ));
    }
    (address.is_ipv6() && address.to_string() != text)
        .then(|| format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{address}\")"))
}

/// What is to be said of the range `text` at `path`. What is no range is for the validation.
pub(super) fn cidr(text: &str, path: &str) -> Vec<String> {
    let Some((head, length)) = text.split_once('/') else {
        return Vec::new();
    };
    let (Some(address), Ok(bits)) = (parse(head), length.parse::<u32>()) else {
        return Vec::new();
    };
    let address = plain(address);
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = if address.is_ipv4() && head.contains(':') {
        bits.saturating_sub(96)
    } else {
        bits
    };
    if bits > width {
        return Vec::new();
    }
    let (first, canonical) = (masked(address, bits), format!("{address}/{bits}"));
    let range = format!("{first}/{bits}");
    let mut said = Vec::new();
    if first != address {
        said.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {range:?} or \"{address}/{width}\"?)"
        ));
    }
    if parse(head).is_some_and(|address| needs_other_form(head, address)) {
        said.push(format!(
            "{path}: non-standard CIDR value {text:?} will be considered invalid in a future Kubernetes release: use {range:?}"
        ));
    }
    if said.is_empty() && address.is_ipv6() && canonical != text {
        said.push(format!(
            "{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({canonical:?})"
        ));
    }
    said
}

/// Numbers with leading zeros are read as decimal numbers.
fn parse(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse().ok();
    }
    let numbers: Vec<&str> = text.split('.').collect();
    let number = |digits: &str| match digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        true => None,
        false => digits.parse::<u8>().ok(),
    };
    match numbers.as_slice() {
        [a, b, c, d] => Some(Ipv4Addr::new(number(a)?, number(b)?, number(c)?, number(d)?).into()),
        _ => None,
    }
}

/// True for leading zeros, and for addresses of the older kind that are written as ones of the newer.
fn needs_other_form(text: &str, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => text.parse::<Ipv4Addr>().is_err(),
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    }
}

fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The first address of the range.
fn masked(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4) & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_best_written_in_the_usual_way() {
        for usual in ["1.2.3.4", "2001:db8::1", "no address", ""] {
            assert_eq!(ip(usual, "at"), None);
        }
        let odd = ip("01.2.3.4", "at").unwrap();
        assert!(odd.starts_with("at: non-standard IP address \"01.2.3.4\"") && odd.ends_with("use \"1.2.3.4\""));
        assert!(ip("::ffff:1.2.3.4", "at").unwrap().ends_with("use \"1.2.3.4\""));
        assert_eq!(
            ip("2001:DB8::1", "at").unwrap(),
            "at: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")"
        );
    }

    #[test]
    fn ranges_are_best_written_with_their_first_address() {
        assert_eq!(cidr("10.0.0.0/8", "at"), [""; 0]);
        assert_eq!(cidr("0.0.0.0/0", "at"), [""; 0]);
        assert_eq!(
            cidr("10.0.0.1/8", "at"),
            [
                "at: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
            ]
        );
        assert!(cidr("010.0.0.0/8", "at")[0].ends_with("use \"10.0.0.0/8\""));
        assert_eq!(
            cidr("2001:DB8::/32", "at"),
            ["at: IPv6 CIDR value \"2001:DB8::/32\" should be in RFC 5952 canonical format (\"2001:db8::/32\")"]
        );
    }
}
