//! What can be known of a value before any request: enough to find conditions that can never be evaluated.

/// The type of an expression, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    /// Anything.
    Dyn,
    /// A value of the payload: null, a boolean, a double, a text, a list or a map; never an int.
    Json,
    Null,
    Bool,
    Int,
    UInt,
    Double,
    Text,
    Bytes,
    List,
    /// The payload itself.
    Payload,
    /// The metadata: texts by text.
    Metadata,
    Map,
    Timestamp,
    Duration,
    Type,
    /// As an argument: a timestamp or a duration.
    Moment,
    /// As an argument: whatever `size` takes.
    Sized,
}

impl Ty {
    /// Its name in a message.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dyn => "a value",
            Self::Json => "a value of the payload",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int => "a whole number (int)",
            Self::UInt => "a whole number (uint)",
            Self::Double => "a number (double)",
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::List => "a list",
            Self::Payload => "the whole payload",
            Self::Metadata => "the whole metadata",
            Self::Map => "a map",
            Self::Timestamp => "a time",
            Self::Duration => "a duration",
            Self::Type => "a type",
            Self::Moment => "a time or a duration",
            Self::Sized => "a text, a list or a map",
        }
    }

    /// Whether a value of this type may be what is wanted.
    pub(super) fn may_be(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::Json, wanted) => !matches!(
                wanted,
                Self::Int
                    | Self::UInt
                    | Self::Bytes
                    | Self::Timestamp
                    | Self::Duration
                    | Self::Moment
                    | Self::Type
            ),
            (own, Self::Json) => own.is_json(),
            (own, Self::Moment) => matches!(own, Self::Timestamp | Self::Duration),
            (own, Self::Sized) => own.is_map() || matches!(own, Self::Text | Self::Bytes | Self::List),
            (own, Self::Map) => own.is_map(),
            (own, wanted) => own == wanted,
        }
    }

    /// Whether values of the two types can be equal.
    pub(super) fn may_equal(self, other: Self) -> bool {
        self.may_be(other)
            || other.may_be(self)
            || (self.may_be_number() && other.may_be_number())
            || (self.is_map() && other.is_map())
    }

    pub(super) fn may_be_number(self) -> bool {
        matches!(self, Self::Dyn | Self::Json | Self::Int | Self::UInt | Self::Double)
    }

    pub(super) fn is_map(self) -> bool {
        matches!(self, Self::Map | Self::Payload | Self::Metadata)
    }

    /// Whether `<` can order values of the two types.
    pub(super) fn may_compare(self, other: Self) -> bool {
        let orderly = |ty: Self| !ty.is_map() && !matches!(ty, Self::List | Self::Null | Self::Type);
        orderly(self) && orderly(other) && self.may_equal(other)
    }

    fn is_json(self) -> bool {
        self.is_map() || matches!(self, Self::Null | Self::Bool | Self::Double | Self::Text | Self::List)
    }

    /// The type of what is inside a value of this type.
    pub(super) const fn inner(self) -> Self {
        match self {
            Self::Json | Self::Payload => Self::Json,
            Self::Metadata => Self::Text,
            _ => Self::Dyn,
        }
    }
}
