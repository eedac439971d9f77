//! The ways of putting the first candidates of a search in a new order, as requests and collections name them.

use serde::{Deserialize, Serialize};

/// How the second stage scores candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By the encoder's own token vectors.
    LateInteraction,
    /// By a model that reads query and passage together.
    CrossEncoder,
}

/// What is wanted of the second stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// There is to be none.
    None,
    /// By the encoder's own token vectors.
    LateInteraction,
    /// By a model that reads query and passage together.
    CrossEncoder,
}

impl Method {
    /// Its name in traces and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::LateInteraction => "late_interaction",
            Self::CrossEncoder => "cross_encoder",
        }
    }
}

impl Wanted {
    /// The method, if there is to be one.
    pub fn method(self) -> Option<Method> {
        match self {
            Self::None => None,
            Self::LateInteraction => Some(Method::LateInteraction),
            Self::CrossEncoder => Some(Method::CrossEncoder),
        }
    }
}
