// Loaded into mocha where SKYLANE_TEST_PATIENCE is set: every test may take so many times as long as it says, on a machine that is so many times slower.
const { Runnable } = require("mocha");

const times = Number(process.env.SKYLANE_TEST_PATIENCE);
const once = Runnable.prototype["timeout"];
// Who sets it sets what it says; who asks, which is who waits, gets what that is here.
Runnable.prototype.timeout = function patient(...said) {
  const own = once.apply(this, said);
  return said.length === 0 ? own * times : own;
};
