// In every process of mocha whose coverage is measured: a test worker that is told to end is killed after a second, in which a busy
// machine does not get its coverage written. With a listener it ends as soon as that is done.
process.once("SIGTERM", () => process.exit());
