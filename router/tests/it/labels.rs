//! Whether an intent model fits the policy that serves.

use trivium_proto::router::v1::{CheckLabelsRequest, CheckLabelsResponse};
use trivium_service_kit::{Error, Reason};

use crate::world::{Plan, World};

async fn check(world: &World, labels: Vec<String>, out_of_scope: &str) -> Result<CheckLabelsResponse, Error> {
    let request = CheckLabelsRequest { labels, out_of_scope_label: out_of_scope.to_owned() };
    Ok(world.router.clone().check_labels(request).await?.into_inner())
}

fn names(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|&label| label.to_owned()).collect()
}

#[tokio::test]
async fn labels_are_compared_with_the_policy_that_serves() {
    let world = World::start(Plan::default()).await;
    let policy = ["lookup", "factual", "how_to", "small_talk", "text_task"];
    let fits = check(&world, names(&[&policy[..], &["oos"]].concat()), "oos").await.expect("an answer");
    assert_eq!((fits.unmapped, fits.unknown), (names(&[]), names(&[])));
    assert_eq!(fits.policy_version.len(), 16);
    let differs = check(&world, names(&["lookup", "factual", "how_to", "weather"]), "").await.expect("an answer");
    assert_eq!(differs.unmapped, names(&["weather"]));
    assert_eq!(differs.unknown, names(&["small_talk", "text_task"]));
}

#[tokio::test]
async fn no_labels_and_too_many_are_refused() {
    let world = World::start(Plan::default()).await;
    let many = (0..10_001).map(|number| number.to_string()).collect();
    for (labels, reason) in [(Vec::new(), Reason::FieldMissing), (many, Reason::FieldOutOfRange)] {
        let error = check(&world, labels, "").await.expect_err("no labels of a model");
        assert_eq!((error.reason(), error.field()), (reason, Some("labels")));
    }
}
