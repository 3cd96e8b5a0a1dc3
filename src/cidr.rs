//! Ranges of addresses, as network policies take them.

use std::net::IpAddr;

/// A range of addresses that share their first bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cidr {
    address: IpAddr,
    bits: u32,
}

impl Cidr {
    /// Reads `10.0.0.0/8` or `2001:db8::/32`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
        let bits = bits.parse().ok().filter(|bits| plain && *bits <= width(address))?;
        Some(Cidr { address, bits })
    }

    /// Whether an address is one of the range.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let free = width(address) - self.bits.min(width(address));
        let first = |address| number(address).checked_shr(free).unwrap_or_default();
        self.address.is_ipv4() == address.is_ipv4() && first(self.address) == first(address)
    }

    /// Whether the range is one address.
    pub(crate) fn is_single(self) -> bool {
        self.bits == width(self.address)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The range of one address.
pub(crate) fn single(address: IpAddr) -> String {
    format!("{address}/{}", width(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_what_shares_the_first_bits() {
        for (cidr, address, expected) in [
            ("0.0.0.0/0", "169.254.169.254", true),
            ("128.0.0.0/1", "169.254.169.254", true),
            ("0.0.0.0/1", "169.254.169.254", false),
            ("169.254.0.0/16", "169.254.169.254", true),
            ("169.254.9.9/16", "169.254.169.254", true),
            ("169.254.169.254/32", "169.254.169.254", true),
            ("169.254.169.253/32", "169.254.169.254", false),
            ("::/0", "fd00:ec2::254", true),
            ("0::/0", "fd00:ec2::254", true),
            ("fd00::/8", "fd00:ec2::254", true),
            ("fd00:ec2:0:0:0:0:0:254/128", "fd00:ec2::254", true),
            ("2001:db8::/32", "fd00:ec2::254", false),
            ("::/0", "169.254.169.254", false),
            ("0.0.0.0/0", "fd00:ec2::254", false),
        ] {
            assert_eq!(Cidr::parse(cidr).unwrap().contains(address.parse().unwrap()), expected, "{cidr} {address}");
        }
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in
            ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/+8", "999.1.1.1/9", "::/129", ":::/0"]
        {
            assert!(Cidr::parse(text).is_none(), "{text}");
        }
    }
}
