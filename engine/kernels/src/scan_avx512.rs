#![expect(
    unsafe_code,
    reason = "AVX-512 loads and gathers by address; every address is checked against a slice first"
)]
//! The cut scan, eight stripes of the data at once.
//!
//! The gear hash of a byte depends on the 64 bytes before it only, and FastCDC's masks on the low 48 bits, so on 48
//! bytes. A block of the data is split into eight stripes; each lane of a vector rolls the hash through one of them,
//! after a warm-up on the 48 bytes before it. Lane 0 carries on from the block before, and starts with nothing at
//! the minimum size, as FastCDC does. A hit ends the search in its own and all later lanes; the lowest lane's first hit is the cut.
//!
//! # Invariants
//! - The slow twin is `portable::first_cut`; both find the same cut in the same data.
//! - No byte outside the scanned data is read.

use std::arch::x86_64::*;

use fastcdc::v2020::get_gear_with_seed;

use crate::params::Params;
use crate::portable::Masks;

/// Stripes scanned side by side.
const LANES: usize = 8;

/// Bytes of each stripe that are loaded at once.
const STEP: usize = 64;

/// What the scan looks up: FastCDC's gear table.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Gear {
    planes: [[u8; 256]; 6],
    words: [u64; 256],
}

impl Gear {
    pub(crate) fn new() -> Self {
        let (gear, _) = get_gear_with_seed(0);
        let words: [u64; 256] = std::array::from_fn(|byte| gear[byte]);
        let planes = std::array::from_fn(|plane| words.map(|word| word.to_le_bytes()[plane]));
        Self { planes, words }
    }
}

pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
}

/// Length of the first chunk of `data`; the end of `data` is a cut.
pub(crate) fn first_cut<const K: u32>(
    gear: &Gear,
    params: Params,
    masks: Masks,
    data: &[u8],
    stripe: usize,
) -> usize {
    let (min, avg) = (params.min as usize, params.avg as usize);
    let window = data.len().min(params.max as usize);
    if window <= min {
        return window;
    }
    let end = window & !1;
    let center = avg.min(end);
    let mut scan = Scan { gear, data: &data[..end], position: min, hash: 0, stripe };
    // SAFETY: a `Gear` for this level is only in use where `is_available` found the features.
    unsafe {
        scan.run::<K>(center, masks.strict).or_else(|| scan.run::<K>(end, masks.loose)).unwrap_or(window)
    }
}

struct Scan<'a> {
    gear: &'a Gear,
    data: &'a [u8],
    position: usize,
    hash: u64,
    stripe: usize,
}

impl Scan<'_> {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    fn run<const K: u32>(&mut self, to: usize, mask: u64) -> Option<usize> {
        let smallest = LANES * STEP;
        while to - self.position >= smallest {
            let stripe = self.stripe.min((to - self.position) / smallest * STEP);
            let found = self.block::<K>(stripe, mask);
            if found.is_some() {
                return found;
            }
            self.position += LANES * stripe;
        }
        while self.position < to {
            self.hash = (self.hash << 1).wrapping_add(self.gear.words[self.data[self.position] as usize]);
            if self.hash & mask == 0 {
                return Some(self.position);
            }
            self.position += 1;
        }
        None
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    fn block<const K: u32>(&mut self, stripe: usize, mask: u64) -> Option<usize> {
        let start = self.position;
        let base = self.data.as_ptr();
        let vmask = _mm512_set1_epi64(mask as i64);
        let rows = |offset: usize| -> [__m512i; 8] {
            std::array::from_fn(|lane| unsafe { _mm512_loadu_si512(base.add(offset + lane * stripe).cast()) })
        };
        let ahead = LANES * stripe;
        let mut h = _mm512_setzero_si512();
        let q = transpose(rows(start - STEP));
        for g in 2..8 {
            for word in lookup::<K>(self.gear, q[g]) {
                h = roll(h, word);
            }
        }
        h = _mm512_mask_set1_epi64(h, 1, self.hash as i64);
        let mut limit = 0xffu8;
        let mut best = None;
        let mut off = 0;
        while off < stripe {
            let at = start + off;
            for lane in 0..LANES {
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(base.wrapping_add(at + ahead + lane * stripe).cast());
                }
            }
            let q = transpose(rows(at));
            for g in 0..8 {
                let before = h;
                let mut any = 0;
                for word in lookup::<K>(self.gear, q[g]) {
                    h = roll(h, word);
                    any = _kor_mask8(any, _mm512_testn_epi64_mask(h, vmask));
                }
                if any & limit != 0 {
                    let lane = (any & limit).trailing_zeros() as usize;
                    let mut hs = [0u64; 8];
                    unsafe { _mm512_storeu_si512(hs.as_mut_ptr().cast(), before) };
                    let mut hash = hs[lane];
                    let mut p = at + lane * stripe + g * 8;
                    loop {
                        hash = (hash << 1).wrapping_add(self.gear.words[self.data[p] as usize]);
                        if hash & mask == 0 {
                            break;
                        }
                        p += 1;
                    }
                    best = Some(p);
                    if lane == 0 {
                        return best;
                    }
                    limit = (1 << lane) - 1;
                }
            }
            off += STEP;
        }
        self.hash = _mm_extract_epi64::<1>(_mm512_extracti32x4_epi32::<3>(h)) as u64;
        best
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn roll(h: __m512i, g: __m512i) -> __m512i {
    _mm512_add_epi64(_mm512_add_epi64(h, h), g)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn lookup<const K: u32>(gear: &Gear, q: __m512i) -> [__m512i; 8] {
    if K == 0 {
        let low = _mm512_set1_epi64(0xff);
        let w = gear.words.as_ptr();
        unsafe {
            [
                _mm512_i64gather_epi64::<8>(_mm512_and_si512(q, low), w.cast()),
                _mm512_i64gather_epi64::<8>(_mm512_and_si512(_mm512_srli_epi64::<8>(q), low), w.cast()),
                _mm512_i64gather_epi64::<8>(_mm512_and_si512(_mm512_srli_epi64::<16>(q), low), w.cast()),
                _mm512_i64gather_epi64::<8>(_mm512_and_si512(_mm512_srli_epi64::<24>(q), low), w.cast()),
                _mm512_i64gather_epi64::<8>(_mm512_and_si512(_mm512_srli_epi64::<32>(q), low), w.cast()),
                _mm512_i64gather_epi64::<8>(_mm512_and_si512(_mm512_srli_epi64::<40>(q), low), w.cast()),
                _mm512_i64gather_epi64::<8>(_mm512_and_si512(_mm512_srli_epi64::<48>(q), low), w.cast()),
                _mm512_i64gather_epi64::<8>(_mm512_srli_epi64::<56>(q), w.cast()),
            ]
        }
    } else {
        let order =
            _mm512_broadcast_i32x4(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
        let b = _mm512_shuffle_epi8(q, order);
        let p: [__m512i; 6] = if K == 1 {
            let top = _mm512_movepi8_mask(b);
            std::array::from_fn(|i| {
                let t = gear.planes[i].as_ptr();
                unsafe {
                    let t0 = _mm512_load_si512(t.cast());
                    let t1 = _mm512_load_si512(t.add(64).cast());
                    let t2 = _mm512_load_si512(t.add(128).cast());
                    let t3 = _mm512_load_si512(t.add(192).cast());
                    _mm512_mask_blend_epi8(
                        top,
                        _mm512_permutex2var_epi8(t0, b, t1),
                        _mm512_permutex2var_epi8(t2, b, t3),
                    )
                }
            })
        } else {
            let top = _mm512_movepi8_mask(b);
            let sec = _mm512_movepi8_mask(_mm512_add_epi8(b, b));
            let k1 = _kandn_mask64(top, sec);
            let k2 = _kandn_mask64(sec, top);
            let k3 = _kand_mask64(sec, top);
            std::array::from_fn(|i| {
                let t = gear.planes[i].as_ptr();
                unsafe {
                    let t0 = _mm512_load_si512(t.cast());
                    let t1 = _mm512_load_si512(t.add(64).cast());
                    let t2 = _mm512_load_si512(t.add(128).cast());
                    let t3 = _mm512_load_si512(t.add(192).cast());
                    let r = _mm512_permutexvar_epi8(b, t0);
                    let r = _mm512_mask_permutexvar_epi8(r, k1, b, t1);
                    let r = _mm512_mask_permutexvar_epi8(r, k2, b, t2);
                    _mm512_mask_permutexvar_epi8(r, k3, b, t3)
                }
            })
        };
        let a0 = _mm512_unpacklo_epi8(p[0], p[1]);
        let a1 = _mm512_unpackhi_epi8(p[0], p[1]);
        let b0 = _mm512_unpacklo_epi8(p[2], p[3]);
        let b1 = _mm512_unpackhi_epi8(p[2], p[3]);
        let c0 = _mm512_unpacklo_epi8(p[4], p[5]);
        let c1 = _mm512_unpackhi_epi8(p[4], p[5]);
        let mut out = [_mm512_setzero_si512(); 8];
        let z = _mm512_setzero_si512();
        for (i, (a, b, c)) in [(a0, b0, c0), (a1, b1, c1)].into_iter().enumerate() {
            let x0 = _mm512_unpacklo_epi16(a, b);
            let x1 = _mm512_unpackhi_epi16(a, b);
            let y0 = _mm512_unpacklo_epi16(c, z);
            let y1 = _mm512_unpackhi_epi16(c, z);
            out[4 * i] = _mm512_unpacklo_epi32(x0, y0);
            out[4 * i + 1] = _mm512_unpackhi_epi32(x0, y0);
            out[4 * i + 2] = _mm512_unpacklo_epi32(x1, y1);
            out[4 * i + 3] = _mm512_unpackhi_epi32(x1, y1);
        }
        out
    }
}

/// Eight rows of eight qwords to eight columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn transpose(r: [__m512i; 8]) -> [__m512i; 8] {
    let mut t = r;
    for i in 0..4 {
        t[2 * i] = _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]);
    }
    // t[2i + p] block b holds rows 2i, 2i+1 at column 2b + p.
    let mut out = r;
    for p in 0..2 {
        let u0 = _mm512_shuffle_i64x2::<0b10_00_10_00>(t[p], t[2 + p]); // Blocks 0, 2 of rows 0-1, of rows 2-3.
        let u1 = _mm512_shuffle_i64x2::<0b11_01_11_01>(t[p], t[2 + p]);
        let v0 = _mm512_shuffle_i64x2::<0b10_00_10_00>(t[4 + p], t[6 + p]);
        let v1 = _mm512_shuffle_i64x2::<0b11_01_11_01>(t[4 + p], t[6 + p]);
        out[p] = _mm512_shuffle_i64x2::<0b10_00_10_00>(u0, v0);
        out[4 + p] = _mm512_shuffle_i64x2::<0b11_01_11_01>(u0, v0);
        out[2 + p] = _mm512_shuffle_i64x2::<0b10_00_10_00>(u1, v1);
        out[6 + p] = _mm512_shuffle_i64x2::<0b11_01_11_01>(u1, v1);
    }
    out
}
