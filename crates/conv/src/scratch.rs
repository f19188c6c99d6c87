//! Buffers that a thread keeps, so that a convolution allocates nothing of its own after the first.

use crate::simd::Element;

/// Calls `work` with `length` entries of any content, at the start of a cache line.
///
/// `work` must not call back into the pool of threads: another task of the same thread would find
/// the buffer taken.
pub(crate) fn with<T: Element, R>(length: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    /// Bytes of a cache line.
    const LINE: usize = 64;
    T::scratch().with_borrow_mut(|buffer| {
        let spare = LINE / size_of::<T>();
        if buffer.len() < length + spare {
            buffer.resize(length + spare, T::ZERO);
        }
        let start = buffer.as_ptr().align_offset(LINE).min(spare);
        work(&mut buffer[start..start + length])
    })
}
