# COCO-Object val2017: 80 things and the background, 5000 pictures.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_coco_object.txt", options=dict(scale=(2016, 672), prob_thd=0.5))
test_dataloader = dict(
    dataset=dict(
        type="COCOObjectDataset",
        data_root="coco_object",
        data_prefix=dict(img_path="images/val2017", seg_map_path="annotations/val2017"),
    )
)
