//! Lists of requests.

use placet_core::request::{Request, Status};

use placet_gate::ports::StoreQuery;

use super::{START, done, inserted, list, load, pick};
use crate::{Subject, sample};

/// A list has a client's own requests, newest first, and goes on behind the one it is given.
pub async fn lists_are_newest_first_and_go_on_where_they_stopped(subject: &Subject) {
    let mut requests = Vec::new();
    for number in 0..7 {
        let request = inserted(subject, "n8n", &format!("r{number}"), START.plus_millis(number)).await;
        inserted(subject, "zapier", &format!("r{number}"), START.plus_millis(number)).await;
        requests.push(request);
    }
    for (index, status) in [
        (1, Status::Approved),
        (2, Status::Rejected),
        (3, Status::Expired),
        (4, Status::Cancelled),
        (5, Status::Approved),
    ] {
        let end = sample::end(pick(&requests, &[index]).first().unwrap(), status, START);
        done(subject, end).await;
    }
    let all = list(subject, None, 100, None).await;
    let ids: Vec<&str> = all.iter().map(|request| request.asked().request_id.as_str()).collect();
    assert_eq!(ids, ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
    for request in &all {
        assert_eq!(load(subject, request.asked()).await.as_ref(), Some(request));
    }
    let mut paged = list(subject, None, 3, None).await;
    while let Some(last) = paged.last() {
        let before = last.asked().approval_id.clone();
        let page = list(subject, None, 3, Some(before)).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

/// A list of one status has nothing of another, and follows what happens.
pub async fn a_list_can_be_of_one_status(subject: &Subject) {
    for number in 0..5 {
        inserted(subject, "n8n", &format!("r{number}"), START.plus_millis(number)).await;
    }
    let ids = async |status: Status, limit: usize, before: Option<&Request>| {
        let before = before.map(|request| request.asked().approval_id.clone());
        let requests = list(subject, Some(status), limit, before).await;
        requests.iter().map(|request| request.asked().request_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(Status::Pending, 100, None).await, ["r4", "r3", "r2", "r1", "r0"]);
    for number in [1, 3] {
        let asked = sample::asked("n8n", &format!("r{number}"), START.plus_millis(number));
        let request = load(subject, &asked).await.unwrap();
        done(subject, sample::end(&request, Status::Approved, START)).await;
    }
    assert_eq!(ids(Status::Pending, 100, None).await, ["r4", "r2", "r0"]);
    assert_eq!(ids(Status::Pending, 2, None).await, ["r4", "r2"]);
    assert_eq!(ids(Status::Approved, 100, None).await, ["r3", "r1"]);
    let third = load(subject, &sample::asked("n8n", "r3", START.plus_millis(3))).await.unwrap();
    assert_eq!(ids(Status::Approved, 100, Some(&third)).await, ["r1"]);
    assert_eq!(ids(Status::Rejected, 100, None).await, Vec::<String>::new());
}

/// A list of all clients has everybody's, newest first, in pages and of one status, too.
pub async fn a_list_can_be_of_all_clients(subject: &Subject) {
    let mut requests = Vec::new();
    for (number, client) in ["n8n", "zapier", "agent", "n8n", "zapier", "agent"].into_iter().enumerate() {
        let at = START.plus_millis(i64::try_from(number).unwrap());
        requests.push(inserted(subject, client, &format!("r{number}"), at).await);
    }
    for index in [1, 3] {
        let request = pick(&requests, &[index]).remove(0);
        done(subject, sample::end(&request, Status::Approved, START.plus_millis(9))).await;
    }
    let ids = async |status: Option<Status>, limit: usize, before: Option<usize>| {
        let before = before.map(|index| pick(&requests, &[index]).remove(0).asked().approval_id.clone());
        let query = StoreQuery { client: None, status, limit, before };
        let found = subject.store.list(&query).await.unwrap();
        found.iter().map(|request| request.asked().request_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 100, None).await, ["r5", "r4", "r3", "r2", "r1", "r0"]);
    assert_eq!(ids(None, 4, None).await, ["r5", "r4", "r3", "r2"]);
    assert_eq!(ids(None, 4, Some(2)).await, ["r1", "r0"]);
    assert_eq!(ids(Some(Status::Approved), 100, None).await, ["r3", "r1"]);
    assert_eq!(ids(Some(Status::Pending), 2, None).await, ["r5", "r4"]);
    assert_eq!(ids(Some(Status::Pending), 2, Some(4)).await, ["r2", "r0"]);
    assert_eq!(ids(Some(Status::Expired), 100, None).await, Vec::<String>::new());
}

/// What is pending, of all clients, comes by the deadline of its stage, and goes on behind the last of a page.
pub async fn pending_requests_come_in_pages_by_deadline(subject: &Subject) {
    let mut requests = Vec::new();
    for (client, closes_in) in [("n8n", 300), ("zapier", 100), ("n8n", 200), ("agent", 400), ("zapier", 50)] {
        let asked = sample::asked(client, &format!("r{closes_in}"), START);
        let commit = sample::insert_until(&asked, START.plus_millis(closes_in));
        done(subject, commit.clone()).await;
        requests.push(sample::inserted(&commit));
    }
    let ended = requests.pop().unwrap();
    done(subject, sample::end(&ended, Status::Approved, START)).await;
    let pending = async |after: Option<usize>, limit: usize| {
        let after = after.and_then(|index| sample::closing(&pick(&requests, &[index]).remove(0)));
        subject.store.pending(after, limit).await.unwrap()
    };
    assert_eq!(pending(None, 10).await, pick(&requests, &[1, 2, 0, 3]));
    assert_eq!(pending(None, 2).await, pick(&requests, &[1, 2]));
    assert_eq!(pending(Some(2), 2).await, pick(&requests, &[0, 3]));
    assert_eq!(pending(Some(0), usize::MAX).await, pick(&requests, &[3]));
    assert_eq!(pending(Some(3), 10).await, []);
}

/// Many that close at one moment come each once, whatever the size of a page.
pub async fn pages_of_pending_requests_split_one_deadline(subject: &Subject) {
    let mut keys = Vec::new();
    for number in 0..23 {
        let asked = sample::asked("n8n", &format!("r{number}"), START);
        done(subject, sample::insert_until(&asked, START.plus_millis(if number == 0 { 1 } else { 500 })))
            .await;
        keys.push(asked.key());
    }
    let first = keys.remove(0);
    keys.sort();
    keys.insert(0, first);
    for limit in [1, 4, 23] {
        let mut after = None;
        let mut found = Vec::new();
        loop {
            let page = subject.store.pending(after, limit).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit);
            after = sample::closing(last);
            found.extend(page.iter().map(Request::key));
        }
        assert_eq!(found, keys, "in pages of {limit}");
    }
}
