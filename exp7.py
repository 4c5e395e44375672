exec(open("/tmp/wx/exp1.py").read().split("# A:")[0])
import subprocess
from delve_wandb import records
names=["\\\\","a\\\\b","a\\b","\\\\\\.","a\\.","\\.","a\\.\\.b",".","..","a.","a\\","",".a","a/b\\.c","a b\\.c"]
if len(sys.argv)>1:
    n=names[int(sys.argv[1])]; k=n.replace("\\\\","\0").replace("\\.",".").replace("\0","\\")
    try:
        r=wandb.init(dir=T,id="x")
        r.define_metric(n,step_metric="delve/epoch")
        r.log({k:2,"delve/epoch":0},commit=False); r.log({"u":1},step=3); r.log({"u":1},step=4);r.log({"u":1},step=5)
        print(r.step)
        s=dict(r.summary)
        r.finish(); wandb.teardown()
    except BaseException as e: print("ERR2",type(e).__name__,str(e)[:100]); s=None
    for f in run_files(Path(T)):
        c=read_run_file(f); print(repr(n)[:30],repr(k),{s:{k[:10]:v for k,v in row.items()} for s,row in c.rows.items()},c.step_metrics,c.exit_code,s)
else:
        for i in range(len(names)):
            p=subprocess.run([sys.executable,__file__,str(i)],capture_output=True,text=True)
            print("\n".join(l for l in p.stdout.splitlines()), "" if p.returncode==0 else "RC %s %s"%(p.returncode,p.stderr[-100:]))
        r=wandb.init(dir=T,id="y")
        for j,v in enumerate([float("nan"),float("inf"),-float("inf"),1e308,5e-324]): r.log({"v":v,"_hid":2,"_wandb.x":1,"_wandb":3,"_step":9,"_runtime":7,"_timestamp":5.0,"":1,"ok":1},commit=True)
        r.finish(); wandb.teardown()
        from delve_wandb.segments import Segment
        for row in Segment(run_files(Path(T))[0]).rows(): print(row)
