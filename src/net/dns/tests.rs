//! Names, zones and answers that do not count; what needs a name server is in `tests/it/dns.rs`.

use super::*;

#[test]
fn names_are_compared_without_case_and_shown_without_the_dot() {
    let name = DomainName::parse("_Acme-Challenge.Example.ORG.").unwrap();
    assert_eq!(name.to_string(), "_acme-challenge.example.org");
    assert_eq!(name.absolute(), "_acme-challenge.example.org.");
    assert_eq!(
        name,
        DomainName::parse("_acme-challenge.example.org").unwrap()
    );
    assert!(name.is_within(&DomainName::parse("example.org").unwrap()));
    assert!(!name.is_within(&DomainName::parse("xample.org").unwrap()));
}

#[test]
fn what_is_no_name_is_refused() {
    for bad in ["", ".", "a..b", "a b", &"x".repeat(64), &"x.".repeat(130)] {
        assert!(DomainName::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn control_characters_of_a_hostile_name_are_escaped() {
    let name = Name::from_labels([&b"a\x1b[2Jb"[..], b"test"]).unwrap();
    let shown = DomainName::of(&name).to_string();
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn an_apex_is_read_from_answer_or_authority_but_not_from_behind_a_cname() {
    use hickory_proto::rr::rdata::{CNAME, SOA};
    let name = |text: &str| DomainName::parse(text).unwrap().as_name().clone();
    let soa = |owner: &str| {
        let data = SOA::new(name("ns.test"), name("h.test"), 1, 1, 1, 1, 1);
        Record::from_rdata(name(owner), 1, RData::SOA(data))
    };
    let cname = Record::from_rdata(name("a.b.test"), 1, RData::CNAME(CNAME(name("x.test"))));
    let apex = |answers: Vec<Record>, authorities: Vec<Record>, of: &str| {
        let mut message = Message::query();
        message.add_answers(answers);
        message.add_authorities(authorities);
        apex_in(&message, &name(of)).map(ToString::to_string)
    };
    assert_eq!(
        apex(vec![soa("b.test")], vec![], "b.test").as_deref(),
        Some("b.test.")
    );
    assert_eq!(
        apex(vec![], vec![soa("b.test")], "a.b.test").as_deref(),
        Some("b.test.")
    );
    assert_eq!(apex(vec![], vec![soa("c.test")], "a.b.test"), None);
    assert_eq!(apex(vec![cname], vec![soa("test")], "a.b.test"), None);
}

#[test]
fn only_loopback_servers_are_asked_at_the_port_of_a_loopback_resolver() {
    let port = |start: Option<&str>, ip: &str| {
        Dns::new(start.map(|s| s.parse().unwrap())).port_of(ip.parse().unwrap())
    };
    assert_eq!(port(Some("127.0.0.1:5353"), "127.0.0.2"), 5353);
    assert_eq!(port(Some("[::1]:5353"), "127.0.0.2"), 5353);
    assert_eq!(port(Some("127.0.0.1:5353"), "192.0.2.1"), 53);
    assert_eq!(port(Some("192.0.2.7:5353"), "127.0.0.1"), 53);
    assert_eq!(port(None, "127.0.0.1"), 53);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_at_once() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let name = DomainName::parse("x.test").unwrap();
    let begun = std::time::Instant::now();
    let error = Dns::new(None).txt_at(address, &name).await.unwrap_err();
    assert_eq!(
        error,
        NoAnswer::Network(std::io::ErrorKind::ConnectionRefused)
    );
    assert!(begun.elapsed() < query::QUERY_DEADLINE);
}

#[tokio::test]
async fn a_silent_server_and_one_that_answers_other_questions_end_at_the_deadline() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    // TCP at the same port accepts and never answers.
    let _tcp = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            message.metadata.id ^= 1;
            socket.send_to(&message.to_vec().unwrap(), from).await.ok();
        }
    });
    let name = DomainName::parse("x.test").unwrap();
    let error = Dns::new(None).txt_at(address, &name).await.unwrap_err();
    assert_eq!(error, NoAnswer::TimedOut);
}
