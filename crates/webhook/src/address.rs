//! Which addresses a callback must not reach.
//!
//! Pure: an address in, a verdict out. Names, exemptions and connections are for others.
//!
//! Sources: the IANA special-purpose registries (RFC 6890, as updated by RFC 8190) for
//! [IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry/) and
//! [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry/), the
//! [IPv6 address space](https://www.iana.org/assignments/ipv6-address-space/) registry, and the metadata
//! services of [AWS](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html)
//! (169.254.169.254, `fd00:ec2::254`) and
//! [Azure](https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16) (168.63.129.16,
//! the one that hides in public space).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network, its prefix length, and what to call an address in it.
type V4Range = (Ipv4Addr, u32, &'static str);
type V6Range = (Ipv6Addr, u32, &'static str);

const BLOCKED_V4: &[V4Range] = &[
    (Ipv4Addr::UNSPECIFIED, 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "cloud metadata"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::BROADCAST, 32, "broadcast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

const BLOCKED_V6: &[V6Range] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    // RFC 8215: a local translator's, so where the embedded IPv4 address lies is anyone's guess.
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "local translation"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discard-only"),
    // IETF protocol assignments: Teredo (2001::/32), benchmarking, ORCHID. The few that are globally
    // reachable are anycast services, not places for a webhook.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo tunnel"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    // Deprecated by RFC 7526; the tunnel would carry the packet to the embedded IPv4 address.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4 tunnel"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    // `fd00:ec2::254`, the metadata service of AWS, is in here.
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
const GLOBAL_UNICAST: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);

/// Names the range that bars `address`, or nothing when it is globally routable.
///
/// The name fits "a … address".
pub(crate) fn blocked_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => blocked_v4(v4),
        IpAddr::V6(v6) => blocked_v6(v6),
    }
}

fn blocked_v4(address: Ipv4Addr) -> Option<&'static str> {
    BLOCKED_V4
        .iter()
        .find(|(network, prefix, _)| v4_within(address, *network, *prefix))
        .map(|(_, _, name)| *name)
}

fn blocked_v6(address: Ipv6Addr) -> Option<&'static str> {
    // Both forms reach the IPv4 address inside: the kernel's mapping, and RFC 6052 translation (which an
    // IPv6-only subnet needs to reach most of the world, so it is not barred as such).
    if let Some(embedded) = address.to_ipv4_mapped() {
        return blocked_v4(embedded);
    }
    if v6_within(address, NAT64, 96) {
        let [.., a, b, c, d] = address.octets();
        return blocked_v4(Ipv4Addr::new(a, b, c, d));
    }
    if let Some((_, _, name)) =
        BLOCKED_V6.iter().find(|(network, prefix, _)| v6_within(address, *network, *prefix))
    {
        return Some(name);
    }
    // All else outside 2000::/3 is not handed out to anyone: IPv4-compatible addresses, segment routing,
    // and what future registries bring.
    (!v6_within(address, GLOBAL_UNICAST, 3)).then_some("reserved")
}

fn v4_within(address: Ipv4Addr, network: Ipv4Addr, prefix: u32) -> bool {
    let differing = u32::from(address) ^ u32::from(network);
    differing.leading_zeros() >= prefix
}

fn v6_within(address: Ipv6Addr, network: Ipv6Addr, prefix: u32) -> bool {
    let differing = u128::from(address) ^ u128::from(network);
    differing.leading_zeros() >= prefix
}

#[cfg(test)]
mod tests {
    use super::blocked_range;

    fn check(rows: &[(&str, Option<&str>)]) {
        for (address, expected) in rows {
            let verdict = blocked_range(address.parse().unwrap());
            assert_eq!(verdict, *expected, "{address}");
        }
    }

    #[test]
    fn every_special_ipv4_range_is_barred_from_its_first_address_to_its_last() {
        check(&[
            ("0.0.0.0", Some("unspecified")),
            ("0.255.255.255", Some("unspecified")),
            ("10.0.0.0", Some("private")),
            ("10.255.255.255", Some("private")),
            ("100.64.0.0", Some("carrier-grade NAT")),
            ("100.100.100.200", Some("carrier-grade NAT")),
            ("100.127.255.255", Some("carrier-grade NAT")),
            ("127.0.0.0", Some("loopback")),
            ("127.0.0.1", Some("loopback")),
            ("127.255.255.255", Some("loopback")),
            ("168.63.129.16", Some("cloud metadata")),
            ("169.254.0.0", Some("link-local")),
            ("169.254.169.254", Some("link-local")),
            ("169.254.170.2", Some("link-local")),
            ("169.254.255.255", Some("link-local")),
            ("172.16.0.0", Some("private")),
            ("172.31.255.255", Some("private")),
            ("192.0.0.0", Some("reserved")),
            ("192.0.0.192", Some("reserved")),
            ("192.0.0.255", Some("reserved")),
            ("192.0.2.0", Some("documentation")),
            ("192.0.2.255", Some("documentation")),
            ("192.88.99.1", Some("6to4 relay")),
            ("192.168.0.0", Some("private")),
            ("192.168.255.255", Some("private")),
            ("198.18.0.0", Some("benchmarking")),
            ("198.19.255.255", Some("benchmarking")),
            ("198.51.100.0", Some("documentation")),
            ("198.51.100.255", Some("documentation")),
            ("203.0.113.0", Some("documentation")),
            ("203.0.113.255", Some("documentation")),
            ("224.0.0.0", Some("multicast")),
            ("239.255.255.255", Some("multicast")),
            ("240.0.0.0", Some("reserved")),
            ("255.255.255.254", Some("reserved")),
            ("255.255.255.255", Some("broadcast")),
        ]);
    }

    #[test]
    fn the_neighbours_of_the_special_ipv4_ranges_pass() {
        check(&[
            ("1.0.0.0", None),
            ("8.8.8.8", None),
            ("9.255.255.255", None),
            ("11.0.0.0", None),
            ("100.63.255.255", None),
            ("100.128.0.0", None),
            ("126.255.255.255", None),
            ("128.0.0.0", None),
            ("168.63.129.15", None),
            ("168.63.129.17", None),
            ("169.253.255.255", None),
            ("169.255.0.0", None),
            ("172.15.255.255", None),
            ("172.32.0.0", None),
            ("191.255.255.255", None),
            ("192.0.1.0", None),
            ("192.0.3.0", None),
            ("192.167.255.255", None),
            ("192.169.0.0", None),
            ("198.17.255.255", None),
            ("198.20.0.0", None),
            ("198.51.99.255", None),
            ("198.51.101.0", None),
            ("203.0.112.255", None),
            ("203.0.114.0", None),
            ("223.255.255.255", None),
        ]);
    }

    #[test]
    fn every_special_ipv6_range_is_barred_from_its_first_address_to_its_last() {
        check(&[
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::2", Some("reserved")),
            ("::127.0.0.1", Some("reserved")),
            ("::ffff:0:127.0.0.1", Some("reserved")),
            ("64:ff9b:1::", Some("local translation")),
            ("64:ff9b:1:ffff:ffff:ffff:808:808", Some("local translation")),
            ("64:ff9b:2::808:808", Some("reserved")),
            ("100::", Some("discard-only")),
            ("100::ffff:ffff:ffff:ffff", Some("discard-only")),
            ("100:0:0:1::", Some("reserved")),
            ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("reserved")),
            ("2001::", Some("Teredo tunnel")),
            ("2001:0:ffff::1", Some("Teredo tunnel")),
            ("2001:2::1", Some("reserved")),
            ("2001:10::1", Some("reserved")),
            ("2001:1ff:ffff::1", Some("reserved")),
            ("2001:db8::", Some("documentation")),
            ("2001:db8:ffff::1", Some("documentation")),
            ("2002::", Some("6to4 tunnel")),
            ("2002:7f00:1::", Some("6to4 tunnel")),
            ("2002:ffff::1", Some("6to4 tunnel")),
            ("3fff::1", Some("documentation")),
            ("3fff:fff:ffff::1", Some("documentation")),
            ("4000::", Some("reserved")),
            ("5f00::1", Some("reserved")),
            ("fc00::", Some("private")),
            ("fd00:ec2::254", Some("private")),
            ("fd20:ce::254", Some("private")),
            ("fdff:ffff::1", Some("private")),
            ("fe00::1", Some("reserved")),
            ("fe80::", Some("link-local")),
            ("fe80::a9fe:a9fe", Some("link-local")),
            ("febf:ffff::1", Some("link-local")),
            ("fec0::", Some("site-local")),
            ("feff:ffff::1", Some("site-local")),
            ("ff00::", Some("multicast")),
            ("ff02::1", Some("multicast")),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("multicast")),
        ]);
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_judged_by_itself() {
        check(&[
            ("::ffff:127.0.0.1", Some("loopback")),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("::ffff:10.1.2.3", Some("private")),
            ("::ffff:0.0.0.0", Some("unspecified")),
            ("::ffff:8.8.8.8", None),
            ("64:ff9b::127.0.0.1", Some("loopback")),
            ("64:ff9b::169.254.169.254", Some("link-local")),
            ("64:ff9b::192.168.1.1", Some("private")),
            ("64:ff9b::8.8.8.8", None),
        ]);
    }

    #[test]
    fn public_ipv6_addresses_pass() {
        check(&[
            ("2000::1", None),
            ("2001:200::1", None),
            ("2001:4860:4860::8888", None),
            ("2001:db7:ffff::1", None),
            ("2001:db9::1", None),
            ("2003::1", None),
            ("2606:4700:4700::1111", None),
            ("2a01:4f8::1", None),
            ("3ffe:ffff::1", None),
            ("3fff:1000::1", None),
        ]);
    }
}
