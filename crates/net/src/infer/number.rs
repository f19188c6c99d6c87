//! The two precisions of a pass.

use std::ops::Div;

use certiseg_conv::Element;

/// f32 or f64.
pub trait Number: Element + Div<Output = Self> + From<f32> + Into<f64> {
    /// The nearest of a number.
    fn of(value: f64) -> Self;
    /// Its magnitude.
    fn abs(self) -> Self;
    /// Its square root, rounded once.
    fn sqrt(self) -> Self;
}

macro_rules! number {
    ($($t:ty),*) => {
        $(impl Number for $t {
            fn of(value: f64) -> Self {
                value as $t
            }
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
        })*
    };
}

number!(f32, f64);
