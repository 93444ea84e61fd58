use base64::Engine as _;
use placet_core::id::{ApprovalId, ReviewerId};
use placet_core::request::Status;
use placet_core::words::May;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn bytes(text: &str) -> Vec<u8> {
    BASE64.decode(text).unwrap()
}

#[test]
fn the_example_of_rfc_8291_comes_out_byte_for_byte() {
    // Section 5 and Appendix A.
    let device =
        bytes("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4");
    let point =
        bytes("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8");
    let shared = bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
    let auth = bytes("BTBZMqHH6r4Tts7J_aSIgg");
    let salt: [u8; 16] = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
    let words = b"When I grow up, I want to be a watermelon";
    let message = crypto::seal(&shared, &device, &auth, &point, salt, words).unwrap();
    assert_eq!(
        BASE64.encode(message),
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    );
}

#[test]
fn a_key_signs_what_its_public_half_verifies() {
    let key = crypto::new_key().unwrap();
    let token = crypto::sign(key.private.expose(), &json!({ "aud": "https://push.example" })).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes(&key.public));
    public.verify(signed.as_bytes(), &bytes(signature)).unwrap();
    assert_eq!(bytes(&key.public).len(), 65);
    assert_ne!(crypto::new_key().unwrap().public, key.public);
    assert!(crypto::sign("bm8", &json!({})).is_none());
}

#[test]
fn a_message_fits_the_most_that_a_service_must_take_and_no_more_is_sent() {
    let key = crypto::new_key().unwrap();
    let auth = BASE64.encode([7; 16]);
    let most = crypto::encrypt(&key.public, &auth, &[b'x'; crypto::MOST_BYTES]).unwrap();
    assert_eq!(most.len(), 4096);
    // That is our fault, not the device's, which must not be forgotten for it.
    let longer = crypto::encrypt(&key.public, &auth, &[b'x'; crypto::MOST_BYTES + 1]);
    assert_eq!(longer, Err(Unencrypted::Failed));
    // Another salt and another key each time.
    let again = crypto::encrypt(&key.public, &auth, &[b'x'; crypto::MOST_BYTES]).unwrap();
    assert_ne!(most.get(..86), again.get(..86));
}

#[test]
fn keys_that_are_no_keys_encrypt_nothing() {
    let key = crypto::new_key().unwrap();
    let auth = BASE64.encode([7; 16]);
    let not_on_the_curve = BASE64.encode([&[4][..], &[1; 64]].concat());
    for (p256dh, auth) in [
        ("", auth.as_str()),
        ("!", &auth),
        (&not_on_the_curve, &auth),
        (&key.public, ""),
        (&key.public, &BASE64.encode([7; 15])),
    ] {
        assert_eq!(crypto::encrypt(p256dh, auth, b"x"), Err(Unencrypted::BadKeys), "{p256dh} {auth}");
    }
}

fn notification(card: Card) -> Notification {
    Notification {
        id: "msg_1".into(),
        follows: Vec::new(),
        approval_id: ApprovalId::from_parts(NOW, 1),
        key: None,
        stage: 1,
        reviewer: ReviewerId::parse("bob").unwrap(),
        channel: "push".into(),
        address: None,
        subject: "subject".into(),
        text: "text".into(),
        html: String::new(),
        url: "https://gate.example.com/sub/r/LINK".into(),
        card: card.into(),
    }
}

fn open() -> Card {
    Card {
        headline: "Pay 5,000.00 EUR to ACME GmbH".into(),
        client: "Invoice flow".into(),
        until: Some((NOW.plus_millis(90_500), "soon".into())),
        stands: Stands::Open { may: May::Decide, buttons: None },
        ..Card::default()
    }
}

fn told(card: Card) -> (News, Value) {
    let news = news(&notification(card), "https://gate.example.com/sub", NOW);
    let words = serde_json::from_slice(&news.words).unwrap();
    (news, words)
}

#[test]
fn a_locked_screen_shows_who_asks_and_the_title_only_with_preview() {
    let (news, words) = told(open());
    assert_eq!(
        words,
        json!({
            "title": "Placet", "body": "Invoice flow asks. Something waits for your approval.", "tag": news.topic,
            "urgent": false, "settled": false, "path": "r/LINK",
        })
    );
    assert_eq!((news.ttl_seconds, news.urgency, news.topic.len()), (91, "normal", 32));
    assert!(news.topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    let (_, words) = told(Card { preview: true, is_reminder: true, ..open() });
    assert_eq!(words["title"], "Pay 5,000.00 EUR to ACME GmbH");
    assert_eq!(words["body"], "Reminder: Invoice flow asks for your approval.");
    let (news, words) = told(Card { urgent: true, ..open() });
    assert_eq!((news.urgency, &words["urgent"]), ("high", &json!(true)));
}

#[test]
fn how_it_ended_takes_the_place_of_the_question_and_is_quiet() {
    let ended = |preview| {
        let words = "Approved by Carol, 12 s after it was asked".to_owned();
        let stands = Stands::Ended { status: Status::Approved, words, reason: Some("paid twice".into()) };
        told(Card { stands, preview, urgent: true, until: None, ..open() })
    };
    let (asked, _) = told(open());
    let (news, words) = ended(false);
    assert_eq!((news.topic, news.urgency, news.ttl_seconds), (asked.topic, "low", 86_400));
    assert_eq!(words["body"], "Invoice flow asked. Approved by Carol, 12 s after it was asked.");
    assert_eq!((&words["title"], &words["settled"]), (&json!("Placet"), &json!(true)));
    let (_, words) = ended(true);
    assert_eq!(words["body"], "Approved by Carol, 12 s after it was asked: “paid twice”");
}

#[test]
fn the_longest_words_fit() {
    let long = "🦀".repeat(3000);
    let card = Card { headline: long.clone(), client: long, preview: true, ..open() };
    let (news, _) = told(card);
    assert!(news.words.len() <= crypto::MOST_BYTES, "{}", news.words.len());
}

#[test]
fn the_contact_is_an_address_that_a_push_service_takes() {
    assert_eq!(contact("https://gate.example.com"), "https://gate.example.com");
    assert_eq!(contact("http://127.0.0.1:8484"), "mailto:placet@localhost");
}
