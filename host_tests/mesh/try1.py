import sys, time
import gateways
peer = __import__(sys.argv[1])
kind, n, seed, secs = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
t=time.ticks_us()
site = gateways.Site(peer, kind, n, seed)
site.boot_all()
site.run(60)
site.steady()
site.ask_each(20, (secs-60)*1000000)
site.run(secs-60)
d = site.drain(600)
r = site.report()
cpu=time.ticks_diff(time.ticks_us(),t)/1e6
for k in r: print(k, r[k] if k!="delays" else None)
print("drain", d, "cpu", cpu, "speed", site.world.now/1e6/cpu, "events/s", site.world.events/cpu)
