use std::net::Ipv4Addr;
use std::time::Duration;

use crate::world::{Load, World};

const MESSAGES: u32 = 400;

/// The house gets another address at night, twice, while mail comes in: all of it is taken, and comes once.
pub(crate) fn tell(world: &mut World) {
    let load = Load::begin(world, MESSAGES);
    std::thread::sleep(Duration::from_millis(500));
    world.house_gets(Ipv4Addr::new(203, 0, 113, 77));
    std::thread::sleep(Duration::from_secs(5));
    world.house_gets(Ipv4Addr::new(203, 0, 113, 78));
    load.all_taken();
    world.pair.wait_for_link();
    world.bob_has(MESSAGES as usize);
}
