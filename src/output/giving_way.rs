//! Who makes room for a newcomer where everything is taken: somebody who came and then said nothing.
//!
//! Pure. Fair to networks: whichever holds the most silent places loses one, and a newcomer's own counts first. So who
//! fills a place after the other from one address only pushes itself out.

use std::collections::HashMap;
use std::net::IpAddr;

/// Of the silent ones, the oldest first; None: nobody has to go.
pub fn who_goes<Id: Copy>(silent: impl Iterator<Item = (IpAddr, Id)>, newcomer: IpAddr) -> Option<Id> {
    let silent: Vec<(IpAddr, Id)> = silent.collect();
    // the newcomer is silent as well
    let mut held = HashMap::from([(newcomer, 1)]);
    silent.iter().for_each(|(network, _)| *held.entry(*network).or_insert(0) += 1);
    // the last of several greatest is taken: turned round, the oldest
    silent.iter().rev().max_by_key(|(network, _)| held[network]).map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn whoever_holds_the_most_loses_its_oldest() {
        let silent = [(ip(1), 'a'), (ip(2), 'b'), (ip(2), 'c'), (ip(3), 'd'), (ip(3), 'e'), (ip(3), 'f')];
        let goes = |count: usize, newcomer| who_goes(silent[..count].iter().copied(), ip(newcomer));
        assert_eq!(goes(6, 9), Some('d'));
        assert_eq!(goes(5, 9), Some('b'), "as many as another: the oldest of all these");
        assert_eq!(goes(5, 3), Some('d'), "the newcomer's own count first");
        assert_eq!(goes(6, 2), Some('b'));
        assert_eq!(goes(1, 9), Some('a'));
        assert_eq!(goes(0, 9), None);
    }

    #[test]
    fn one_address_never_pushes_out_another_that_holds_less() {
        let mut places: Vec<(IpAddr, u32)> = vec![(ip(1), 0)];
        for number in 1..1000 {
            if places.len() == 16 {
                let gone = who_goes(places.iter().copied(), ip(2)).unwrap();
                places.retain(|(_, id)| *id != gone);
            }
            places.push((ip(2), number));
        }
        assert!(places.contains(&(ip(1), 0)));
    }
}
