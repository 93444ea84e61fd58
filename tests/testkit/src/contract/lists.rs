//! Lists of requests.

use placet_core::request::{Request, Status};

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
    let ids: Vec<&str> = all.iter().map(|request| request.asked.request_id.as_str()).collect();
    assert_eq!(ids, ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
    for request in &all {
        assert_eq!(load(subject, &request.asked).await.as_ref(), Some(request));
    }
    let mut paged = list(subject, None, 3, None).await;
    while let Some(last) = paged.last() {
        let before = last.asked.approval_id.clone();
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
    let ids = async |status: &str, limit: usize, before: Option<&Request>| {
        let before = before.map(|request| request.asked.approval_id.clone());
        let requests = list(subject, Some(status), limit, before).await;
        requests.iter().map(|request| request.asked.request_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids("pending", 100, None).await, ["r4", "r3", "r2", "r1", "r0"]);
    for number in [1, 3] {
        let asked = sample::asked("n8n", &format!("r{number}"), START.plus_millis(number));
        let request = load(subject, &asked).await.unwrap();
        done(subject, sample::end(&request, Status::Approved, START)).await;
    }
    assert_eq!(ids("pending", 100, None).await, ["r4", "r2", "r0"]);
    assert_eq!(ids("pending", 2, None).await, ["r4", "r2"]);
    assert_eq!(ids("approved", 100, None).await, ["r3", "r1"]);
    let third = load(subject, &sample::asked("n8n", "r3", START.plus_millis(3))).await.unwrap();
    assert_eq!(ids("approved", 100, Some(&third)).await, ["r1"]);
    assert_eq!(ids("rejected", 100, None).await, Vec::<String>::new());
}

/// What is pending, of all clients, the oldest first.
pub async fn pending_requests_come_the_oldest_first(subject: &Subject) {
    let mut requests = Vec::new();
    for (client, number) in [("n8n", 3), ("zapier", 1), ("n8n", 2), ("n8n", 0)] {
        requests.push(inserted(subject, client, &format!("r{number}"), START.plus_millis(number)).await);
    }
    let ended = requests.remove(2);
    done(subject, sample::end(&ended, Status::Approved, START)).await;
    assert_eq!(subject.store.pending(10).await.unwrap(), pick(&requests, &[2, 1, 0]));
    assert_eq!(subject.store.pending(2).await.unwrap(), pick(&requests, &[2, 1]));
    assert_eq!(subject.store.pending(usize::MAX).await.unwrap().len(), 3);
}
