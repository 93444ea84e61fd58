//! What the HTTP API is answered.

use std::pin::Pin;

use axum::response::Response;
use lambda_http::{Body, IntoResponse};

/// An answer of the gate's routers. All of them are UTF-8, whatever they are called.
///
/// `lambda_http` would choose the text's encoding by the content type, and the tables of all of them would be in each
/// function.
pub(crate) struct Answer(pub(crate) Response);

impl IntoResponse for Answer {
    fn into_response(self) -> Pin<Box<dyn Future<Output = lambda_http::Response<Body>> + Send>> {
        Box::pin(async {
            let (mut parts, body) = self.0.into_parts();
            let body = match axum::body::to_bytes(body, usize::MAX).await {
                Ok(bytes) if bytes.is_empty() => Body::Empty,
                Ok(bytes) => String::from_utf8(bytes.into())
                    .map_or_else(|error| Body::Binary(error.into_bytes()), Body::Text),
                Err(error) => {
                    tracing::error!(%error, "an answer broke off");
                    parts.status = lambda_http::http::StatusCode::INTERNAL_SERVER_ERROR;
                    Body::Empty
                }
            };
            lambda_http::Response::from_parts(parts, body)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(body: impl Into<axum::body::Body>) -> Body {
        let answer = Response::builder().header("content-type", "text/html; charset=latin1");
        Answer(answer.body(body.into()).unwrap()).into_response().await.into_body()
    }

    #[tokio::test]
    async fn text_goes_as_text_and_bytes_as_bytes() {
        assert_eq!(sent("zwölf €").await, Body::Text("zwölf €".into()));
        assert_eq!(sent(vec![0xff, 0xfe]).await, Body::Binary(vec![0xff, 0xfe]));
        assert_eq!(sent("").await, Body::Empty);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_a_fault() {
        let broken = axum::body::Body::from_stream(futures_util::stream::iter([
            Ok("half"),
            Err(std::io::Error::other("broken")),
        ]));
        let answer = Answer(Response::new(broken)).into_response().await;
        assert_eq!((answer.status().as_u16(), answer.into_body()), (500, Body::Empty));
    }
}
