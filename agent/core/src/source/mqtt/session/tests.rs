use super::*;

fn publish(qos: QoS, id: u16) -> Publish {
    Publish {
        topic: "a/b".to_owned(),
        qos,
        id,
        dup: false,
        retain: false,
        payload: b"1".to_vec(),
        is_text: false,
        expiry_s: None,
        user_properties: Vec::new(),
    }
}

fn offers(session: &mut Session, publish: &Publish) -> bool {
    session.take(Packet::Publish(publish.clone())).unwrap() == Step::Offer(publish.clone())
}

fn rec(id: u16) -> Reply {
    Reply::PubRec(Acknowledgement::of(id))
}

#[test]
fn a_message_is_acknowledged_once_it_is_stored_and_not_before() {
    let mut session = Session::new(Version::V311, 10);
    let cases = [
        (QoS::AtMostOnce, 0, None),
        (QoS::AtLeastOnce, 7, Some(Reply::PubAck(Acknowledgement::of(7)))),
        (QoS::ExactlyOnce, 7, Some(rec(7))),
    ];
    for (qos, id, expected) in cases {
        let publish = publish(qos, id);
        assert!(offers(&mut session, &publish));
        assert_eq!(session.stored(Delivery::of(&publish)), expected);
    }
}

#[test]
fn a_message_of_qos_2_that_comes_again_before_its_release_is_not_offered_again() {
    let mut session = Session::new(Version::V5, 10);
    let publish = publish(QoS::ExactlyOnce, 3);
    assert!(offers(&mut session, &publish));
    assert_eq!(session.take(Packet::Publish(publish.clone())), Ok(Step::Nothing), "it is not safe yet");
    assert_eq!(session.stored(Delivery::of(&publish)), Some(rec(3)));
    session.resume(Version::V5, 10);
    assert_eq!(session.take(Packet::Publish(publish.clone())), Ok(Step::Reply(rec(3))));
    let comp = |reason| Ok(Step::Reply(Reply::PubComp(Acknowledgement { reason, ..Acknowledgement::of(3) })));
    assert_eq!(session.take(Packet::PubRel(3)), comp(Reason::Success));
    assert_eq!(session.take(Packet::PubRel(3)), comp(Reason::NoPacketId), "the client gets on");
    assert!(offers(&mut session, &publish), "its identifier is free again");
}

#[test]
fn a_message_of_qos_2_that_was_not_stored_is_offered_when_it_comes_again() {
    for over in [Session::failed, |session: &mut Session, _| session.resume(Version::V311, 10)] {
        let mut session = Session::new(Version::V311, 10);
        let publish = publish(QoS::ExactlyOnce, 3);
        assert!(offers(&mut session, &publish));
        over(&mut session, Delivery::of(&publish));
        assert!(offers(&mut session, &publish));
    }
}

#[test]
fn a_release_of_what_has_no_pubrec_ends_the_connection() {
    let mut session = Session::new(Version::V311, 10);
    assert!(offers(&mut session, &publish(QoS::ExactlyOnce, 3)));
    assert_eq!(session.take(Packet::PubRel(3)).unwrap_err().reason, Reason::Protocol);
}

#[test]
fn a_client_that_has_too_much_in_flight_has_to_wait_until_something_is_answered() {
    for version in [Version::V5, Version::V311] {
        let mut session = Session::new(version, 2);
        let (first, second) = (publish(QoS::ExactlyOnce, 1), publish(QoS::AtLeastOnce, 1));
        assert!(offers(&mut session, &first) && session.has_room() && offers(&mut session, &second));
        assert!(!session.has_room());
        session.stored(Delivery::of(&first));
        assert!(session.has_room(), "PUBREL must be read");
        assert!(offers(&mut session, &publish(QoS::AtLeastOnce, 2)) && !session.has_room());
        session.stored(Delivery::of(&second));
        assert!(session.has_room());
    }
}

#[test]
fn a_client_of_5_that_releases_nothing_is_closed_at_the_receive_maximum() {
    for version in [Version::V5, Version::V311] {
        let mut session = Session::new(version, 2);
        for id in 1..=2 {
            assert!(offers(&mut session, &publish(QoS::ExactlyOnce, id)));
            session.stored(Delivery::of(&publish(QoS::ExactlyOnce, id)));
        }
        assert!(offers(&mut session, &publish(QoS::AtLeastOnce, 9)), "it is answered by the server alone");
        let third = session.take(Packet::Publish(publish(QoS::ExactlyOnce, 3)));
        match version {
            Version::V5 => assert_eq!(third.unwrap_err().reason, Reason::ReceiveMaximum),
            Version::V311 => assert!(third.is_ok(), "it was told of no maximum"),
        }
    }
}

#[test]
fn an_unfit_message_is_refused_in_5_and_ends_a_connection_of_3_1_1() {
    let why = Closing::new(Reason::PayloadFormat, "not valid JSON");
    let cases = [
        (Version::V5, QoS::AtLeastOnce, true),
        (Version::V5, QoS::ExactlyOnce, true),
        (Version::V5, QoS::AtMostOnce, false),
        (Version::V311, QoS::AtLeastOnce, false),
    ];
    for (version, qos, is_told) in cases {
        let mut session = Session::new(version, 1);
        let publish = publish(qos, u16::from(qos > QoS::AtMostOnce));
        assert!(offers(&mut session, &publish));
        let answer = session.unfit(Delivery::of(&publish), why.clone());
        assert_eq!(answer.is_ok(), is_told, "{version:?} {qos:?}: {answer:?}");
        assert!(offers(&mut session, &publish), "its place is free again");
    }
}

#[test]
fn messages_that_are_never_released_have_a_bound_in_each_version() {
    for (version, most) in [(Version::V311, 10_000), (Version::V5, 10)] {
        let mut session = Session::new(version, 10);
        for id in 1..=most {
            let publish = publish(QoS::ExactlyOnce, id);
            assert!(offers(&mut session, &publish));
            session.stored(Delivery::of(&publish));
        }
        let refused = session.take(Packet::Publish(publish(QoS::ExactlyOnce, most + 1))).unwrap_err();
        assert_eq!(refused.reason, Reason::ReceiveMaximum);
        assert!(refused.words.contains(&most.to_string()), "{}", refused.words);
        // One that is released makes room for another.
        session.take(Packet::PubRel(1)).unwrap();
        assert!(offers(&mut session, &publish(QoS::ExactlyOnce, most + 1)));
    }
}
