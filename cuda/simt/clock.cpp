#include "simt/clock.h"

namespace windowkv::simt {
void SyncClock::reset(unsigned actors) {
  base_ = {};
  visible_ = {};
  actors_ = actors;
}

// Most barriers of a block are never used, so their vectors are made at the first arrival.
void SyncClock::start() {
  if (base_.collected) return;
  base_ = {ClockRef::zero(actors_), ClockRef::zero(actors_), {}};
  visible_ = {ClockRef::zero(actors_), ClockRef::zero(actors_), {}};
}

void SyncClock::release(ThreadClock& thread) {
  start();
  // The lanes of a warp mostly share one vector, so the join is skipped when it was the last one
  // too.
  if (base_.last_joined.identity() != thread.base.identity()) {
    base_.collected.join(thread.base);
    base_.last_joined = thread.base;
  }
  base_.collected.set(thread.actor, thread.epoch);
  if (visible_.last_joined.identity() != thread.visible.identity()) {
    visible_.collected.join(thread.visible);
    visible_.last_joined = thread.visible;
  }
  thread.advance();
}

void SyncClock::release_actor(unsigned actor, uint32_t epoch) {
  start();
  base_.collected.set(actor, epoch);
}

void SyncClock::publish() {
  if (base_.collected) {
    base_.published = base_.collected.copy();
    visible_.published = visible_.collected.copy();
  }
  ++generation_;
}

void SyncClock::take_up(ClockRef& mine, const ClockRef& theirs) {
  // The lanes of a warp wait one after the other for the same barrier with the same past.
  thread_local ClockRef memo_mine, memo_theirs, memo_joined;
  if (mine.identity() == theirs.identity()) return;
  if (memo_mine.identity() != mine.identity() || memo_theirs.identity() != theirs.identity()) {
    memo_mine = mine;
    memo_theirs = theirs;
    if (theirs.covers(mine)) {
      memo_joined = theirs;
    } else if (mine.covers(theirs)) {
      memo_joined = mine;
    } else {
      memo_joined = mine.copy();
      memo_joined.join(theirs);
    }
  }
  mine = memo_joined;
}

void SyncClock::acquire(ThreadClock& thread) const {
  if (!base_.published) return;
  take_up(thread.base, base_.published);
  take_up(thread.visible, visible_.published);
}

}  // namespace windowkv::simt
