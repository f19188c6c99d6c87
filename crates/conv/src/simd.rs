//! Vectors of the processor behind one trait, and the choice between them at run time.

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::{Add, Mul, Sub};
use std::thread::LocalKey;

/// f32 or f64.
pub trait Element:
    Copy
    + Send
    + Sync
    + Debug
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// `self · factor + sum`, rounded once.
    fn fma(self, factor: Self, sum: Self) -> Self;
    /// The larger; a NaN that comes first stays, so that a ReLU hides none.
    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
    /// The smaller, with [`Element::larger`] the pair again.
    fn smaller(self, other: Self) -> Self {
        if other > self { self } else { other }
    }
    #[doc(hidden)]
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>>;
    #[doc(hidden)]
    type Avx512: Simd<Element = Self>;
    #[doc(hidden)]
    type Avx2: Simd<Element = Self>;
    #[doc(hidden)]
    type Portable: Simd<Element = Self>;
}

/// A vector of `LANES` entries; tiles are `ROWS` channels by `VECTORS` vectors of pixels.
///
/// Its functions may only be called where the processor has what the type is named after.
#[doc(hidden)]
pub trait Simd: Copy {
    type Element: Element;
    const LANES: usize;
    /// Rows of a register tile: 8, 6 or 4.
    const ROWS: usize;
    /// Most vectors of a register tile: 3 or less.
    const VECTORS: usize;
    /// # Safety
    /// The processor must have the instructions.
    unsafe fn splat(value: Self::Element) -> Self;
    /// # Safety
    /// `LANES` entries must be readable.
    unsafe fn load(from: *const Self::Element) -> Self;
    /// Lanes whose bit is set in `mask` from memory, the others as they are.
    ///
    /// # Safety
    /// The entries of those lanes must be readable; the others are not touched.
    unsafe fn merge(self, mask: u32, from: *const Self::Element) -> Self;
    /// # Safety
    /// `LANES` entries must be writable.
    unsafe fn store(self, to: *mut Self::Element);
    /// `self · factor + sum`, rounded once.
    ///
    /// # Safety
    /// The processor must have the instructions.
    unsafe fn fma(self, factor: Self, sum: Self) -> Self;
    /// Asks for the cache line of an address, which need not exist.
    ///
    /// # Safety
    /// The processor must have the instructions.
    unsafe fn prefetch(_from: *const Self::Element) {}
}

/// What the processor offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// Environment variable that names lesser instructions, for measurements.
const CHOICE: &str = "CERTISEG_SIMD";

/// The instructions that are used: `avx512`, `avx2` or `portable`, the best that the processor has
/// or the one that CERTISEG_SIMD names.
///
/// # Errors
/// Words for people where it names none that the processor has.
pub fn instructions() -> Result<&'static str, String> {
    Isa::chosen().map(Isa::name)
}

/// Work that is compiled for every kind of processor.
pub(crate) trait Job<T: Element> {
    /// Must be `#[inline(always)]`, so that it is compiled with the instructions of its caller.
    ///
    /// # Safety
    /// The processor must have the instructions of S; and what the job itself asks for.
    unsafe fn run<S: Simd<Element = T>>(self);
}

impl Isa {
    /// All that this processor has, the best first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                all.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx2);
            }
        }
        all.push(Self::Portable);
        all
    }

    /// What [`instructions`] says; where that is an error, the best.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::chosen().unwrap_or_else(|_| Self::available()[0]))
    }

    /// The best of this processor, or the one that the environment names.
    fn chosen() -> Result<Self, String> {
        let all = Self::available();
        let Ok(word) = std::env::var(CHOICE) else {
            return Ok(all[0]);
        };
        let named = |isa: &&Self| isa.name() == word;
        all.iter().find(named).copied().ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|isa| isa.name()).collect();
            let names = names.join(", ");
            format!("{CHOICE} is {word:?}, this processor has {names}")
        })
    }

    fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Lanes, rows and vectors of its tiles.
    pub fn tile<T: Element>(self) -> [usize; 3] {
        fn of<S: Simd>() -> [usize; 3] {
            [S::LANES, S::ROWS, S::VECTORS]
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => of::<T::Avx512>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => of::<T::Avx2>(),
            Self::Portable => of::<T::Portable>(),
        }
    }

    /// Runs a job with the instructions of this kind.
    ///
    /// # Safety
    /// This processor has them (as [`Isa::available`] tells), and what the job itself asks for.
    pub unsafe fn run<T: Element, J: Job<T>>(self, job: J) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512<T: Element, J: Job<T>>(job: J) {
            // SAFETY: as of the caller
            unsafe { job.run::<T::Avx512>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<T: Element, J: Job<T>>(job: J) {
            // SAFETY: as of the caller
            unsafe { job.run::<T::Avx2>() }
        }
        // SAFETY: as of the caller
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512(job),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2(job),
                Self::Portable => job.run::<T::Portable>(),
            }
        }
    }
}

macro_rules! element {
    ($t:ty, $zmm:ident, $ymm:ident, $lanes:literal) => {
        impl Element for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn fma(self, factor: Self, sum: Self) -> Self {
                self.mul_add(factor, sum)
            }
            fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>> {
                thread_local!(static SCRATCH: RefCell<Vec<$t>> = const { RefCell::new(Vec::new()) });
                &SCRATCH
            }
            #[cfg(target_arch = "x86_64")]
            type Avx512 = x86::$zmm;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = x86::$ymm;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx512 = [$t; $lanes];
            #[cfg(not(target_arch = "x86_64"))]
            type Avx2 = [$t; $lanes];
            type Portable = [$t; $lanes];
        }

        // SAFETY of all blocks: what the trait asks of the caller
        impl Simd for [$t; $lanes] {
            type Element = $t;
            const LANES: usize = $lanes;
            const ROWS: usize = 4;
            const VECTORS: usize = 2;
            #[inline(always)]
            unsafe fn splat(value: $t) -> Self {
                [value; $lanes]
            }
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                unsafe { from.cast::<Self>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn merge(mut self, mask: u32, from: *const $t) -> Self {
                for (lane, value) in self.iter_mut().enumerate() {
                    if mask >> lane & 1 == 1 {
                        *value = unsafe { from.wrapping_add(lane).read() };
                    }
                }
                self
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                unsafe { to.cast::<Self>().write_unaligned(self) }
            }
            #[inline(always)]
            unsafe fn fma(self, factor: Self, sum: Self) -> Self {
                std::array::from_fn(|lane| self[lane].mul_add(factor[lane], sum[lane]))
            }
        }
    };
}

element!(f32, F32x16, F32x8, 4);
element!(f64, F64x8, F64x4, 2);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Simd;

    macro_rules! vector {
        ($name:ident, $inner:ty, $t:ty, $lanes:literal, $rows:literal, $vectors:literal,
         $splat:ident, $load:ident, $store:ident, $fma:ident,
         |$self:ident, $mask:ident, $from:ident| $merge:expr) => {
            #[derive(Clone, Copy)]
            pub struct $name($inner);

            // SAFETY of all blocks: what the trait asks of the caller
            impl Simd for $name {
                type Element = $t;
                const LANES: usize = $lanes;
                const ROWS: usize = $rows;
                const VECTORS: usize = $vectors;
                #[inline(always)]
                unsafe fn splat(value: $t) -> Self {
                    Self(unsafe { $splat(value) })
                }
                #[inline(always)]
                unsafe fn load(from: *const $t) -> Self {
                    Self(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn merge($self, $mask: u32, $from: *const $t) -> Self {
                    Self(unsafe { $merge })
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $t) {
                    unsafe { $store(to, self.0) }
                }
                #[inline(always)]
                unsafe fn fma(self, factor: Self, sum: Self) -> Self {
                    Self(unsafe { $fma(self.0, factor.0, sum.0) })
                }
                #[inline(always)]
                unsafe fn prefetch(from: *const $t) {
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
                }
            }
        };
    }

    vector!(
        F32x16,
        __m512,
        f32,
        16,
        8,
        3,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        |self, mask, from| _mm512_mask_loadu_ps(self.0, mask as __mmask16, from)
    );
    vector!(
        F64x8,
        __m512d,
        f64,
        8,
        8,
        3,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_fmadd_pd,
        |self, mask, from| _mm512_mask_loadu_pd(self.0, mask as __mmask8, from)
    );
    vector!(
        F32x8,
        __m256,
        f32,
        8,
        6,
        2,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        |self, mask, from| {
            // lane i has its sign bit set where bit i of the mask is
            let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let chosen = _mm256_and_si256(_mm256_set1_epi32(mask as i32), bits);
            let chosen = _mm256_cmpeq_epi32(chosen, bits);
            let read = _mm256_maskload_ps(from, chosen);
            _mm256_blendv_ps(self.0, read, _mm256_castsi256_ps(chosen))
        }
    );
    vector!(
        F64x4,
        __m256d,
        f64,
        4,
        6,
        2,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_fmadd_pd,
        |self, mask, from| {
            let bits = _mm256_setr_epi64x(1, 2, 4, 8);
            let chosen = _mm256_and_si256(_mm256_set1_epi64x(i64::from(mask)), bits);
            let chosen = _mm256_cmpeq_epi64(chosen, bits);
            let read = _mm256_maskload_pd(from, chosen);
            _mm256_blendv_pd(self.0, read, _mm256_castsi256_pd(chosen))
        }
    );
}
