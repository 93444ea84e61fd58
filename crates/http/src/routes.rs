//! The one list of routes from which both are made: the router that serves, and the OpenAPI document.

/// Defines `router()`, `described()` and `ROUTES` from rows of a path and its methods with their handlers.
///
/// The router is not taken out of the described one: a Lambda would make the whole document at every start, and be a
/// third of a megabyte larger.
macro_rules! route_table {
    ($( $path:literal => $( $method:ident $module:ident :: $handler:ident ),+ ; )+) => {
        /// The routes that are served.
        pub(crate) fn router() -> axum::Router<std::sync::Arc<placet_gate::Gate>> {
            axum::Router::new()
                $( .route($path, axum::routing::MethodRouter::new()$( .$method($module::$handler) )+) )+
        }

        /// The same routes with their descriptions.
        pub(crate) fn described() -> utoipa_axum::router::OpenApiRouter<std::sync::Arc<placet_gate::Gate>> {
            utoipa_axum::router::OpenApiRouter::new()
                $( .routes(utoipa_axum::routes!($( $module::$handler ),+)) )+
        }

        /// Method and path of each.
        #[cfg(test)]
        pub(crate) const ROUTES: &[(&str, &str)] = &[$( $( (stringify!($method), $path) ),+ ),+];
    };
}

pub(crate) use route_table;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    // A path that takes several segments has no form of its own in OpenAPI.
    #[test]
    fn what_is_served_is_what_is_described() {
        let document: serde_json::Value = serde_json::from_str(&crate::openapi_document()).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                described.insert((method.clone(), path.clone()));
            }
        }
        let served = crate::client::ROUTES.iter().chain(crate::reviewer::ROUTES);
        let served: BTreeSet<_> =
            served.map(|(method, path)| ((*method).to_owned(), path.replace("{*", "{"))).collect();
        assert_eq!(described, served);
    }
}
