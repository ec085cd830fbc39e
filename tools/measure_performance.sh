#!/usr/bin/env bash
# Every figure of docs/performance.md, into results/performance/: about two and a half hours on two CPU
# cores, on which nothing else should run. PARTs are the names below; default: all but gpu.
#
#     tools/measure_performance.sh [PART ...]
#
# Figures of a CPU without AVX-512 have a folder of their own, results/performance/avx2/. To take them
# where there is AVX-512: ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 before the command. That masks
# PyTorch and OpenVINO's convolutions, but not ONNX Runtime, which asks the processor itself.
set -euo pipefail
cd "$(dirname "$0")/.."
results=results/performance
instructions=$(python -c "import torch; print(torch.backends.cpu.get_cpu_capability().lower())")
[ "$instructions" = avx512 ] || results+=/$instructions
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

activation_checkpointing() {
    run tools/benchmark.py --reference --seconds 5 --output $results/activation_checkpointing.json \
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

export_onnx() { # NAME DETECTOR...: in fp32 and int8
    run -m bccd export --output "output/exports/$1.onnx" "${@:2}"
    run -m bccd export --int8 --calibrate bccd_paper_train \
        --output "output/exports/$1_int8.onnx" "${@:2}"
}

compare_exports() { # NAME [ARGUMENT...]: what export_onnx wrote, in every runtime, and more files or flags
    run tools/evaluate_export.py "output/exports/$1"{,_int8}.onnx "${@:2}" \
        --runtime onnx openvino aotinductor --dataset bccd_paper_val --output "output/exports/$1"
    mkdir -p "$results/exports_$1"
    cp "output/exports/$1/comparison.json" "$results/exports_$1/"
}

exports() {
    for model in ssd_lite sparse_rcnn_lite; do
        export_onnx $model --model $model
        run -m bccd export --model $model --output output/exports/$model.pt2
        compare_exports $model output/exports/$model.pt2 --eager $model
    done
}

# The lite models' files against a YOLOv8n of this project, which has seen one batch: it finds nothing, so
# that its time is without boxes in its NMS. Needs the files of `exports`.
yolov8n() {
    local trained=output/exports/yolov8n_training files=(output/exports/yolov8n.onnx)
    run train_net.py --config-file configs/YOLOv8/yolov8n_bccd.yaml OUTPUT_DIR $trained \
        DATASETS.VAL "()" DATASETS.TEST "()" SOLVER.MAX_ITER 1 SOLVER.IMS_PER_BATCH 2 \
        INPUT.FIXED_SIZE "(384,480)" MODEL.YOLOv8.SCORE_THRESH_TEST 0.05
    run -m bccd export --model $trained/model_final.pth --output "${files[0]}"
    for model in ssd_lite sparse_rcnn_lite; do
        files+=(output/exports/$model.onnx output/exports/${model}_int8.onnx)
    done
    run tools/evaluate_export.py "${files[@]}" --runtime onnx openvino --bootstrap-samples 0 \
        --dataset bccd_paper_val --output output/exports/yolov8n
    mkdir -p "$results/exports_yolov8n"
    cp output/exports/yolov8n/comparison.json "$results/exports_yolov8n/"
}

# ResNet-50, trained for an hour: not a good detector, but one to see the cost of 8-bit integers on.
# Its folder is its own: --resume must not meet the training of `tools/reproduce.py sparse_rcnn_r50`.
exports_r50() {
    local model=sparse_rcnn_r50 trained=output/exports/sparse_rcnn_r50_training
    run train_net.py --config-file configs/SparseRCNN/sparse_rcnn_r50_scratch_bccd.yaml --resume \
        OUTPUT_DIR $trained MODEL.RESNETS.NORM BN MODEL.FPN.NORM BN INPUT.ROTATE90 False \
        INPUT.MIN_SIZE_TRAIN "(384,432,480)" INPUT.MAX_SIZE_TRAIN 640 SOLVER.IMS_PER_BATCH 4 \
        SOLVER.MAX_ITER 1400 SOLVER.WARMUP_ITERS 200 SOLVER.EMA.DECAY 0.99 TEST.EVAL_PERIOD 700
    export_onnx $model --model $trained/model_best.pth
    compare_exports $model
}

streaming() {
    run tools/stream_check.py --images 10000 --output $results/stream.json
    run tools/stream_check.py --images 2000 --num-gpus 1 2 --cores-each 1 --output $results/scaling.json
}

archive() {
    run tools/measure_archive.py --output $results/archive.json --count --runtime onnx
}

drawing() {
    run tools/benchmark_drawing.py --rounds 30 --output $results/drawing.json
}

startup() {
    run tools/time_startup.py --runs 9 --output $results/startup.json
}

busy() {
    run tools/time_busy.py --seconds 20 --output $results/busy.json
}

# Needs CUDA, five minutes and the packages of requirements.in without openvino. Its folder is named
# after the GPU. The published code runs beside ours in the same process.
gpu() {
    local to seconds=(--seconds 2.5) half=(INFERENCE.DTYPE float16 SOLVER.AMP.ENABLED True)
    to=results/performance/$(python -c \
        "import torch; print(torch.cuda.get_device_name().split()[1].lower())")
    mkdir -p "$to"
    run tools/benchmark.py --reference "${seconds[@]}" --output "$to/reference.json"
    run tools/benchmark.py --reference "${seconds[@]}" --output "$to/reference_fp16.json" \
        --opts "${half[@]}"
    run tools/benchmark.py --reference --config-file "${lite[0]}" "${seconds[@]}" \
        --output "$to/reference_graphs.json" --opts "${half[@]}" INFERENCE.COMPILE True
    run tools/benchmark.py "${seconds[@]}" --output "$to/benchmark.json"
}

for part in "${@:-benchmark reference activation_checkpointing options stages exports yolov8n exports_r50 streaming archive drawing startup busy}"; do
    for one in $part; do $one; done
done
python tools/performance_page.py
