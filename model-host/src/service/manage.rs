//! Which models are there, which serve, and how that is changed.

use trivium_proto::model::v1 as proto;
use trivium_proto::model::v1::shadow_model_request::Action;
use trivium_service_kit::{Error, Reason};

use super::{ModelHost, wire};
use crate::bundle::{ModelId, ModelRef, ShadowAlias};
use crate::generate::Extractive;
use crate::models::Promoted;

impl ModelHost {
    /// Lists the bundles on the host's disk, what those in memory do, and the generators.
    /// Reads the disk: call it where blocking is allowed.
    ///
    /// # Errors
    /// When the models folder cannot be read.
    pub fn list(&self) -> Result<proto::ListModelsResponse, Error> {
        let found = self.models.describe();
        let found = found.map_err(|error| Error::new(Reason::StorageFailed, error.to_string()))?;
        let mut models: Vec<proto::Model> = found.iter().map(wire::model).collect();
        if let Ok(encoder) = self.models.serving().encoder() {
            models.push(wire::generator(&Extractive::new(encoder.clone(), &self.extractive)));
        }
        models.extend(self.generators.values().map(|generator| wire::generator(&**generator)));
        Ok(proto::ListModelsResponse { models })
    }

    /// Loads a version beside those that serve. Blocks meanwhile, as all that follow.
    ///
    /// # Errors
    /// When there is no such version, it cannot be used, or too many are loaded.
    pub fn load_model(&self, request: &proto::LoadModelRequest) -> Result<proto::LoadModelResponse, Error> {
        let model = version(request.model.as_ref())?;
        self.models.load_version(&model)?;
        let found = self.models.describe();
        let found = found.map_err(|error| Error::new(Reason::StorageFailed, error.to_string()))?;
        let described = found.iter().find(|description| description.summary.model == model).map(wire::model);
        Ok(proto::LoadModelResponse { model: described })
    }

    /// Lets go of a version that nothing needs.
    ///
    /// # Errors
    /// When something needs it.
    pub fn unload_model(&self, request: &proto::UnloadModelRequest) -> Result<proto::UnloadModelResponse, Error> {
        let unloaded = self.models.unload(&version(request.model.as_ref())?)?;
        Ok(proto::UnloadModelResponse { unloaded })
    }

    /// Makes a version serve.
    ///
    /// # Errors
    /// When it cannot: then the version before goes on.
    pub fn promote_model(&self, request: &proto::PromoteModelRequest) -> Result<proto::PromoteModelResponse, Error> {
        let promoted = self.models.promote(&version(request.model.as_ref())?)?;
        self.analyses.clear();
        let Promoted { model, previous, serving } = promoted;
        let previous = previous.as_ref().map(wire::model_ref);
        Ok(proto::PromoteModelResponse { model: Some(wire::model_ref(&model)), previous, serving })
    }

    /// Makes the version before serve.
    ///
    /// # Errors
    /// When there is none, and as [`Self::promote_model`].
    pub fn rollback_model(&self, request: &proto::RollbackModelRequest) -> Result<proto::RollbackModelResponse, Error> {
        let promoted = self.models.rollback(&name(&request.name)?)?;
        self.analyses.clear();
        let Promoted { model, previous, serving } = promoted;
        let previous = previous.as_ref().map(wire::model_ref);
        Ok(proto::RollbackModelResponse { model: Some(wire::model_ref(&model)), previous, serving })
    }

    /// Sets, ends or reports the shadow of the intent model.
    ///
    /// # Errors
    /// When its version cannot be loaded or compared, or no intent model serves.
    pub fn shadow_model(&self, request: &proto::ShadowModelRequest) -> Result<proto::ShadowModelResponse, Error> {
        let name = name(&request.name)?;
        let report = match &request.action {
            None => self.models.shadow_report(&name)?,
            Some(Action::Set(settings)) => Some(self.models.set_shadow(&name, alias(settings)?)?),
            Some(Action::Off(true)) => self.models.end_shadow(&name)?,
            Some(Action::Off(false)) => {
                return Err(Error::new(Reason::FieldInvalid, "off must be true, or not be set").with_field("off"));
            }
        };
        Ok(proto::ShadowModelResponse { report: report.map(wire::shadow_report) })
    }
}

fn alias(settings: &proto::ShadowSettings) -> Result<ShadowAlias, Error> {
    let share = settings.share;
    if !(share > 0.0 && share <= 1.0) {
        let message = format!("set.share is {share}; it must be above 0 and at most 1");
        return Err(Error::new(Reason::FieldOutOfRange, message).with_field("set.share"));
    }
    Ok(ShadowAlias { version: id("set.version", &settings.version)?, share })
}

fn version(model: Option<&proto::ModelRef>) -> Result<ModelRef, Error> {
    let Some(model) = model else {
        return Err(Error::new(Reason::FieldMissing, "model is not set").with_field("model"));
    };
    Ok(ModelRef { name: id("model.name", &model.name)?, version: id("model.version", &model.version)? })
}

fn name(name: &str) -> Result<ModelId, Error> {
    id("name", name)
}

fn id(field: &str, text: &str) -> Result<ModelId, Error> {
    if text.is_empty() {
        return Err(Error::new(Reason::FieldMissing, format!("{field} is empty")).with_field(field));
    }
    text.parse().map_err(|error| Error::new(Reason::FieldInvalid, format!("{field}: {error}")).with_field(field))
}
