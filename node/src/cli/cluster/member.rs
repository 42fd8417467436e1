//! `--member ID=PEER_HOST:PORT,API_HOST:PORT`.

use lockbox_proto::lockbox::cluster::v1::Member;

/// Reads the flag.
pub(crate) fn parse(text: &str) -> Result<Member, String> {
    let form = || "is not of the form ID=PEER_HOST:PORT,API_HOST:PORT".to_owned();
    let (id, addresses) = text.split_once('=').ok_or_else(form)?;
    let (peer, api) = addresses.split_once(',').ok_or_else(form)?;
    let node_id = id.parse().ok().filter(|id| *id > 0);
    let node_id = node_id.ok_or_else(|| "has an id that is not a positive number".to_owned())?;
    for address in [peer, api] {
        let parts = address.rsplit_once(':');
        let good = parts.is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(',') && port.parse::<u16>().is_ok_and(|p| p > 0)
        });
        if !good {
            return Err(format!("has {address:?}, which is not host:port"));
        }
    }
    Ok(Member { node_id, peer_address: peer.to_owned(), api_address: api.to_owned() })
}

/// Refuses an id or an address that is there twice.
pub(crate) fn check(members: &[Member]) -> Result<(), String> {
    for (i, member) in members.iter().enumerate() {
        for earlier in &members[..i] {
            if member.node_id == earlier.node_id {
                return Err(format!("node {} is a member twice", member.node_id));
            }
            if member.peer_address == earlier.peer_address {
                return Err(format!("two members have the address {}", member.peer_address));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_an_id_and_two_addresses() {
        let member = parse("2=node-2:8444,localhost:8452").unwrap();
        assert_eq!(member.node_id, 2);
        assert_eq!(member.peer_address, "node-2:8444");
        assert_eq!(member.api_address, "localhost:8452");
        assert_eq!(parse("3=[::1]:1,[::1]:2").unwrap().peer_address, "[::1]:1");
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in
            ["", "1", "1=a:1", "1=a:1,b", "0=a:1,b:2", "x=a:1,b:2", "1=:1,b:2", "1=a:1,b:2,c:3"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn members_differ_in_id_and_address() {
        let members =
            |texts: &[&str]| -> Vec<_> { texts.iter().map(|t| parse(t).unwrap()).collect() };
        assert_eq!(check(&members(&["1=a:1,a:2", "2=b:1,b:2"])), Ok(()));
        assert!(check(&members(&["1=a:1,a:2", "1=b:1,b:2"])).is_err());
        assert!(check(&members(&["1=a:1,a:2", "2=a:1,b:2"])).is_err());
    }
}
