//! The caps on connections, and who gives way.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn seats(total: usize, per_address: usize) -> Arc<Seats> {
    Seats::new(total, per_address, Clock::test().0)
}

fn take(seats: &Arc<Seats>, peer: &str) -> Seat {
    Seats::take(seats, ip(peer)).ok().unwrap()
}

/// Somebody who watches.
fn busy(seats: &Arc<Seats>, peer: &str) -> (Seat, InUse) {
    let seat = take(seats, peer);
    let used = Use::begin(seat.used());
    (seat, used)
}

#[test]
fn one_address_gets_its_share_and_others_still_get_in() {
    let seats = seats(20, 16);
    let held: Vec<_> = (0..16).map(|_| busy(&seats, "10.0.0.1")).collect();
    assert!(Seats::take(&seats, ip("10.0.0.1")).is_err_and(|e| e.contains("your address")));
    assert!(Seats::take(&seats, ip("::ffff:10.0.0.1")).is_err());
    let other = take(&seats, "10.0.0.2");
    drop((held, other));
    assert_eq!((seats.open(), seats.refused()), (0, 2));
}

#[test]
fn loopback_may_use_every_seat_but_not_one_more() {
    let seats = seats(20, 16);
    let held: Vec<_> = (0..20).map(|_| busy(&seats, "127.0.0.1")).collect();
    assert!(Seats::take(&seats, ip("127.0.0.1")).is_err_and(|e| e.contains("all the connections")));
    drop(held);
    assert!(Seats::take(&seats, ip("127.0.0.1")).is_ok());
}

#[test]
fn a_whole_ipv6_network_counts_as_one_address() {
    let seats = seats(20, 2);
    let _held = ["2001:db8::1", "2001:db8::2"].map(|peer| busy(&seats, peer));
    assert!(Seats::take(&seats, ip("2001:db8::3")).is_err());
    assert!(Seats::take(&seats, ip("2001:db8:0:1::1")).is_ok());
}

#[test]
fn a_newcomer_takes_the_place_of_the_oldest_who_said_nothing() {
    let seats = seats(4, 3);
    let (watching, _used) = busy(&seats, "10.0.0.1");
    let silent = [take(&seats, "10.0.0.2"), take(&seats, "10.0.0.3"), take(&seats, "10.0.0.3")];
    let newcomer = take(&seats, "10.0.0.4");
    let gave_way: Vec<bool> = silent.iter().map(|seat| seat.used().has_given_way()).collect();
    assert_eq!(gave_way, [false, true, false], "of the address that holds the most");
    assert!(!watching.used().has_given_way() && !newcomer.used().has_given_way());
    assert_eq!((seats.open(), seats.refused()), (4, 1));
    // the place was lost before: dropping it gives nothing back
    drop(silent);
    assert_eq!(seats.open(), 2);
}

#[test]
fn at_its_own_limit_an_address_pushes_out_its_own_only() {
    let seats = seats(20, 2);
    let other = take(&seats, "10.0.0.1");
    let own = [take(&seats, "10.0.0.2"), take(&seats, "10.0.0.2")];
    let _third = take(&seats, "10.0.0.2");
    assert!(own[0].used().has_given_way() && !own[1].used().has_given_way() && !other.used().has_given_way());
}

#[test]
fn after_a_request_a_connection_is_somebodys_for_a_moment() {
    let (clock, hand) = Clock::test();
    let seats = Seats::new(1, 1, clock);
    let (seat, used) = busy(&seats, "10.0.0.1");
    drop(used);
    assert!(Seats::take(&seats, ip("10.0.0.2")).is_err());
    hand.advance(IN_USE_FOR);
    assert!(Seats::take(&seats, ip("10.0.0.2")).is_ok() && seat.used().has_given_way());
}

#[tokio::test]
async fn who_gives_way_is_told_also_when_it_listens_late() {
    let seats = seats(1, 1);
    let seat = take(&seats, "10.0.0.1");
    let _newcomer = take(&seats, "10.0.0.2");
    seat.used().gives_way().await;
}

#[test]
fn addresses_in_logs_lack_their_last_part() {
    for (address, shown) in [
        ("192.168.1.77", "192.168.1.x"),
        ("::ffff:10.0.0.1", "10.0.0.x"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:x"),
        ("::1", "0:0:0:x"),
    ] {
        assert_eq!(redacted(ip(address)), shown);
    }
}
