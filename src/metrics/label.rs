//! Labels from closed sets.
//!
//! A label is an enum, so a value that nobody declared cannot be counted, every series exists from the start
//! (a counter that appears with its first event hides that event from `rate()`), and counting is an array
//! index instead of a hash lookup.

/// One label: a name and its possible values.
pub trait Label: Copy + 'static {
    /// The label's name in the exposition.
    const NAME: &'static str;
    /// All values; `ALL[i].index() == i`.
    const ALL: &'static [Self];
    /// The value's text.
    fn text(self) -> &'static str;
    /// Position in `ALL`.
    fn index(self) -> usize;
}

/// The labels of one family: none, one, or a tuple of them.
pub trait Labels: Copy + 'static {
    /// Names of the labels.
    fn names() -> Vec<&'static str>;
    /// The values of every series, in the order of [`index`](Self::index).
    fn series() -> Vec<Vec<&'static str>>;
    /// Position of this series.
    fn index(self) -> usize;
}

/// Declares a [`Label`]: documented variants with their texts.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident = $label:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $crate::metrics::label::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),*];
            fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use label;

/// Makes an enum of another room a [`Label`].
macro_rules! label_for {
    ($type:ty = $label:literal { $($variant:ident = $text:literal,)* }) => {
        impl $crate::metrics::label::Label for $type {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),*];
            fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use label_for;

impl Labels for () {
    fn names() -> Vec<&'static str> {
        Vec::new()
    }

    fn series() -> Vec<Vec<&'static str>> {
        vec![Vec::new()]
    }

    fn index(self) -> usize {
        0
    }
}

impl<A: Label> Labels for A {
    fn names() -> Vec<&'static str> {
        vec![A::NAME]
    }

    fn series() -> Vec<Vec<&'static str>> {
        A::ALL.iter().map(|a| vec![a.text()]).collect()
    }

    fn index(self) -> usize {
        Label::index(self)
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn names() -> Vec<&'static str> {
        vec![A::NAME, B::NAME]
    }

    fn series() -> Vec<Vec<&'static str>> {
        A::ALL.iter().flat_map(|a| B::ALL.iter().map(|b| vec![a.text(), b.text()])).collect()
    }

    fn index(self) -> usize {
        Label::index(self.0) * B::ALL.len() + Label::index(self.1)
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    fn names() -> Vec<&'static str> {
        vec![A::NAME, B::NAME, C::NAME]
    }

    fn series() -> Vec<Vec<&'static str>> {
        let tail = <(B, C) as Labels>::series();
        A::ALL.iter().flat_map(|a| tail.iter().map(|rest| [&[a.text()], rest.as_slice()].concat())).collect()
    }

    fn index(self) -> usize {
        Label::index(self.0) * B::ALL.len() * C::ALL.len() + Labels::index((self.1, self.2))
    }
}
