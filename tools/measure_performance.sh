#!/usr/bin/env bash
# Every figure of docs/performance.md, into results/performance/: about an hour and a half on two CPU
# cores, on which nothing else should run. PARTs are the names below; default: all.
#
#     tools/measure_performance.sh [PART ...]
set -euo pipefail
cd "$(dirname "$0")/.."
results=results/performance
lite=(configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml configs/SSD/ssd_lite_bccd.yaml)
r50=configs/SparseRCNN/sparse_rcnn_r50_100pro_bccd.yaml
mkdir -p $results output/exports

run() {
    echo "\$ python $*"
    python "$@"
}

benchmark() {
    run tools/benchmark.py --config-file "${lite[0]}" --config-file "${lite[1]}" \
        --config-file $r50 --config-file configs/SSD/ssd512_vgg16_bccd.yaml \
        --seconds 5 --output $results/benchmark.json
}

reference() {
    run tools/benchmark.py --reference --seconds 60 --output $results/reference.json
}

checkpointing() {
    run tools/benchmark.py --reference --seconds 5 --output $results/checkpointing.json \
        --opts MODEL.ACTIVATION_CHECKPOINTING True
}

options() {
    for model in ssd_lite sparse_rcnn_lite; do
        run tools/trade_off.py --model $model --output $results/options_$model --rounds 1 \
            --axis INFERENCE.DTYPE float32 bfloat16 --axis INFERENCE.FOLD False True \
            --axis INFERENCE.PACK False True
        run tools/trade_off.py --model $model --output $results/compiled_$model --rounds 1 \
            --axis INFERENCE.COMPILE False True
    done
}

stages() {
    run tools/trade_off.py --model sparse_rcnn_lite --output $results/stages --rounds 1 \
        --axis MODEL.SparseRCNN.STAGES_TEST 3 2 1 --axis MODEL.SparseRCNN.NUM_PROPOSALS 60 40 20 100
}

exports() {
    for model in ssd_lite sparse_rcnn_lite; do
        run tools/export_model.py --model $model --output output/exports/$model.onnx
        run tools/export_model.py --model $model --int8 --calibrate bccd_paper_train \
            --output output/exports/${model}_int8.onnx
        run tools/export_model.py --model $model --output output/exports/$model.pt2
        run tools/evaluate_export.py output/exports/${model}{,_int8}.onnx output/exports/$model.pt2 \
            --runtime onnx openvino aotinductor --dataset bccd_paper_val \
            --output output/exports/$model
        mkdir -p $results/exports_$model
        cp output/exports/$model/comparison.json $results/exports_$model/
    done
}

streaming() {
    run tools/stream_check.py --images 10000 --output $results/stream.json
    run tools/stream_check.py --images 2000 --num-gpus 1 2 --cores-each 1 --output $results/scaling.json
}

for part in "${@:-benchmark reference checkpointing options stages exports streaming}"; do
    for one in $part; do $one; done
done
python tools/performance_page.py
