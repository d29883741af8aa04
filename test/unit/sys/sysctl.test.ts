import assert from "node:assert/strict";
import { readSysctl, SysError, writeSysctl } from "../../../src/sys/index.ts";
import { sysctlPath } from "../../../src/sys/sysctl.ts";

describe("kernel parameters", () => {
  it("are found by their key, whatever dots an interface's name has", () => {
    const paths = {
      "net.ipv4.ip_forward": "/proc/sys/net/ipv4/ip_forward",
      "net.ipv6.conf.sky.4096.accept_ra": "/proc/sys/net/ipv6/conf/sky.4096/accept_ra",
      "net.ipv4.conf.a.b.c.rp_filter": "/proc/sys/net/ipv4/conf/a.b.c/rp_filter",
      "net.ipv4.neigh.eth0.100.gc_stale_time": "/proc/sys/net/ipv4/neigh/eth0.100/gc_stale_time",
      "net.ipv6.conf.all.forwarding": "/proc/sys/net/ipv6/conf/all/forwarding",
    };
    for (const [key, path] of Object.entries(paths)) assert.equal(sysctlPath(key), path);
  });

  it("never lead out of /proc/sys", () => {
    const bad = [
      "",
      "net",
      "net..x",
      "net.ipv4.conf.../../x.y",
      "net.ipv4.conf.a/b.rp_filter",
      "a.\0",
      "net.ipv4.conf....rp_filter",
    ];
    for (const key of bad) assert.throws(() => sysctlPath(key), RangeError, key);
  });

  it("are read, undefined where there is none, and refused by name", () => {
    assert.match(readSysctl("kernel.ostype") ?? "", /^Linux$/);
    assert.equal(readSysctl("net.ipv4.no_such_thing"), undefined);
    assert.throws(
      () => writeSysctl("net.ipv4.no_such_thing", 1),
      (error: unknown) => {
        assert.ok(error instanceof SysError);
        assert.equal(error.code, "ENOENT");
        assert.equal(
          error.message,
          'ENOENT setting kernel parameter net.ipv4.no_such_thing to "1": No such file or directory',
        );
        return true;
      },
    );
  });

  it("that have the value already are left alone", () => writeSysctl("kernel.ostype", "Linux"));
});
