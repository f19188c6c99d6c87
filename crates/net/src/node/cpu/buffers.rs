//! Maps that nobody holds any more, kept for the next map of the same size: a step makes the maps
//! that the step before has dropped, and fresh memory costs more than most operations on it (the
//! system hands it out page by page, cleared).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{DType, Shape};

/// Bytes below which memory costs nothing.
const LEAST: usize = 1 << 11;
/// Bytes that are kept at most; what lies idle beyond is dropped.
const MOST: usize = 1 << 30;

#[derive(Default)]
struct Kept {
    /// By precision in bits and number of bytes.
    maps: BTreeMap<(usize, usize), Vec<FlexTensor>>,
    bytes: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    maps: BTreeMap::new(),
    bytes: 0,
});

fn kept<R>(work: impl FnOnce(&mut Kept) -> R) -> R {
    // no work below can leave it half done
    work(&mut KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A tensor of one's own, f32 or f64, of any content.
pub fn take(shape: [usize; 4], dtype: DType) -> FlexTensor {
    let bytes = shape.iter().product::<usize>() * dtype.size();
    let shape = Shape::from(shape);
    let used = kept(|kept| {
        let used = kept.maps.get_mut(&(dtype.size(), bytes))?.pop()?;
        kept.bytes -= bytes;
        Some(used)
    });
    match used {
        Some(used) => used.with_layout(Layout::contiguous(shape)),
        None => FlexTensor::empty(shape, dtype),
    }
}

/// Keeps the memory of a dense tensor, f32 or f64, if nobody else holds it.
pub fn give_back(tensor: FlexTensor) {
    let bytes = tensor.bytes().len();
    if !tensor.is_unique() || !(LEAST..=MOST).contains(&bytes) {
        return;
    }
    #[cfg(test)]
    let tensor = spoiled(tensor);
    let dropped = kept(|kept| {
        let dropped = match kept.bytes + bytes > MOST {
            // sizes have changed, or the network is large
            true => std::mem::take(kept),
            false => Kept::default(),
        };
        kept.bytes += bytes;
        let precision = tensor.dtype().size();
        kept.maps
            .entry((precision, bytes))
            .or_default()
            .push(tensor);
        dropped
    });
    drop(dropped);
}

/// Filled with what no operation may read.
#[cfg(test)]
fn spoiled(mut tensor: FlexTensor) -> FlexTensor {
    match tensor.dtype() {
        DType::F32 => tensor.storage_mut().fill(f32::NAN),
        _ => tensor.storage_mut().fill(f64::NAN),
    }
    tensor
}

#[cfg(test)]
mod tests {
    use burn::backend::TensorMetadata;

    use super::*;

    #[test]
    fn memory_is_kept_only_where_nobody_else_holds_it() {
        // a size that no other test makes
        let shape = [1, 1, 613, 7];
        let tensor = take(shape, DType::F32);
        let (at, shared) = (tensor.bytes().as_ptr(), tensor.clone());
        give_back(tensor);
        assert_ne!(take(shape, DType::F32).bytes().as_ptr(), at);
        give_back(shared);
        let again = take([7, 1, 1, 613], DType::F32);
        assert_eq!(again.bytes().as_ptr(), at);
        assert_eq!(again.shape().dims(), [7, 1, 1, 613]);
    }
}
