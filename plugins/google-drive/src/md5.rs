//! The checksum that Drive gives of a file (RFC 1321): it tells whether bytes came through, and protects nothing.

/// Of bytes that come in pieces.
pub(crate) struct Md5 {
    words: [u32; 4],
    /// What is no whole block yet.
    held: Vec<u8>,
    bytes: u64,
}

const BLOCK_BYTES: usize = 64;

const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

impl Default for Md5 {
    fn default() -> Self {
        Self { words: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476], held: Vec::new(), bytes: 0 }
    }
}

impl Md5 {
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if !self.held.is_empty() {
            let (missing, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.held.len()));
            self.held.extend_from_slice(missing);
            bytes = rest;
            if self.held.len() < BLOCK_BYTES {
                return;
            }
            let held = std::mem::take(&mut self.held);
            self.block(&held);
        }
        let mut blocks = bytes.chunks_exact(BLOCK_BYTES);
        blocks.by_ref().for_each(|block| self.block(block));
        self.held.extend_from_slice(blocks.remainder());
    }

    /// The sum, as Drive writes it.
    pub(crate) fn hex(mut self) -> String {
        let bits = self.bytes * 8;
        let zeros = (BLOCK_BYTES * 2 - 9 - self.held.len()) % BLOCK_BYTES;
        self.add(&[&[0x80], &[0; BLOCK_BYTES][..zeros], &bits.to_le_bytes()].concat());
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    fn block(&mut self, block: &[u8]) {
        let mut data = [0u32; 16];
        for (word, bytes) in data.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        let [mut a, mut b, mut c, mut d] = self.words;
        for (step, sine) in SINES.iter().enumerate() {
            let (mixed, at) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let turned = a.wrapping_add(mixed).wrapping_add(*sine).wrapping_add(data[at % 16]);
            let turned = turned.rotate_left(TURNS[step / 16][step % 4]);
            (a, d, c, b) = (d, c, b, b.wrapping_add(turned));
        }
        for (word, more) in self.words.iter_mut().zip([a, b, c, d]) {
            *word = word.wrapping_add(more);
        }
    }
}

#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The test suite of RFC 1321, A.5, whole and in pieces.
    #[test]
    fn it_sums_as_the_specification_says() {
        for (text, sum) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            for size in [1, 7, 63, 64, 65, 99] {
                let mut md5 = Md5::default();
                text.as_bytes().chunks(size).for_each(|piece| md5.add(piece));
                assert_eq!(md5.hex(), sum, "{text} by {size}");
            }
        }
    }
}
