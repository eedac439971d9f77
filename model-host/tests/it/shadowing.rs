//! A second version of the intent model beside the one that serves.

use tonic::Code;
use trivium_proto::model::v1 as proto;
use trivium_proto::model::v1::shadow_model_request::Action;
use trivium_service_kit::Reason;

use crate::support::TinyModels;
use crate::support::host::{Host, analyze, fit_intents, refusal};

/// The second version gives `moon` the label that the first has, and `error` another.
fn two_versions() -> TinyModels {
    let models = TinyModels::new();
    fit_intents(&models, "error", "moon");
    fit_intents(&models, "fault", "moon");
    models
}

fn set(version: &str, share: f64) -> Option<Action> {
    Some(Action::Set(proto::ShadowSettings { version: version.to_owned(), share }))
}

async fn shadow(host: &mut Host, action: Option<Action>) -> Result<Option<proto::ShadowReport>, tonic::Status> {
    let request = proto::ShadowModelRequest { name: "intents".to_owned(), action };
    Ok(host.client.shadow_model(request).await?.into_inner().report)
}

/// The report once the shadow has seen as many queries.
async fn report_of(host: &mut Host, seen: u64) -> proto::ShadowReport {
    loop {
        let report = shadow(host, None).await.unwrap().unwrap();
        if report.agreements + report.disagreements + report.skipped >= seen {
            return report;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_shadow_sees_its_share_and_counts_how_often_it_disagrees() {
    let mut host = Host::start_with(two_versions(), |_| ()).await;
    assert_eq!(shadow(&mut host, None).await.unwrap(), None);
    let begun = shadow(&mut host, set("2", 0.5)).await.unwrap().unwrap();
    assert_eq!((begun.share, begun.agreements, begun.disagreements), (0.5, 0, 0));
    for text in ["the moon moon moon", "the error error error"] {
        for _ in 0..8 {
            let intent = host.client.analyze(analyze(text, true, false)).await.unwrap().into_inner().intent.unwrap();
            assert_eq!(intent.model.unwrap().version, "1");
        }
    }
    let report = report_of(&mut host, 8).await;
    assert_eq!((report.agreements, report.disagreements, report.skipped), (4, 4, 0));
    let pair = &report.pairs[0];
    assert_eq!((pair.serving_label.as_str(), pair.shadow_label.as_str(), pair.count), ("error", "fault", 4));
    assert!(pair.examples.is_empty(), "content is not captured unless asked for");
    let models = host.client.list_models(proto::ListModelsRequest {}).await.unwrap().into_inner().models;
    let listed = models.iter().find(|model| model.aliases == ["shadow"]).unwrap();
    assert_eq!(listed.shadow.as_ref(), Some(&report));

    assert_eq!(shadow(&mut host, Some(Action::Off(true))).await.unwrap(), Some(report));
    assert_eq!(shadow(&mut host, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_shadow_outlives_a_restart_and_ends_when_it_is_promoted() {
    let mut host = Host::start_with(two_versions(), |_| ()).await;
    shadow(&mut host, set("2", 1.0)).await.unwrap();
    let folder = host.models.folder.path().to_owned();
    host.shutdown.cancel();
    let mut again = Host::start_with(TinyModels::new(), |options| options.models_dir = Some(folder)).await;
    let report = shadow(&mut again, None).await.unwrap().unwrap();
    assert_eq!((report.share, report.shadow.unwrap().version.as_str()), (1.0, "2"));
    let model = Some(proto::ModelRef { name: "intents".to_owned(), version: "2".to_owned() });
    again.client.promote_model(proto::PromoteModelRequest { model }).await.unwrap();
    assert_eq!(shadow(&mut again, None).await.unwrap(), None);
}

#[tokio::test]
async fn bad_shadows_are_refused_by_field() {
    let mut host = Host::start_with(two_versions(), |_| ()).await;
    let table = [
        (set("1", 0.5), Code::InvalidArgument, Reason::FieldInvalid, "set.version"),
        (set("9", 0.5), Code::NotFound, Reason::ModelNotFound, "model"),
        (set("", 0.5), Code::InvalidArgument, Reason::FieldMissing, "set.version"),
        (set("2", 0.0), Code::InvalidArgument, Reason::FieldOutOfRange, "set.share"),
        (set("2", f64::NAN), Code::InvalidArgument, Reason::FieldOutOfRange, "set.share"),
        (set("2", 1.5), Code::InvalidArgument, Reason::FieldOutOfRange, "set.share"),
        (Some(Action::Off(false)), Code::InvalidArgument, Reason::FieldInvalid, "off"),
    ];
    for (action, code, reason, field) in table {
        let refused = refusal(shadow(&mut host, action).await.unwrap_err());
        assert_eq!(refused, (code, reason, Some(field.to_owned())));
        assert_eq!(shadow(&mut host, None).await.unwrap(), None);
    }
    let request = proto::ShadowModelRequest { name: "tiny".to_owned(), action: None };
    let refused = refusal(host.client.shadow_model(request).await.unwrap_err());
    assert_eq!((refused.1, refused.2.as_deref()), (Reason::FieldInvalid, Some("name")));
}
