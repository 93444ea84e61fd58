//! Lives of requests, told as stories.
